#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias,
                    const kernels::LinearEpilogue& epilogue) {
  const Tensor residual = epilogue.residual ? epilogue.residual.clone() : Tensor();
  const int64_t rows = x.rows();
  visit_activation(epilogue.act, [&](auto act) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t o = 0; o < w.shape(0); ++o) {
        double sum = bias ? bias.data<double>()[o] : 0;
        for (int64_t i = 0; i < w.shape(1); ++i)
          sum += x.data<double>()[r * x.pitch() + i] * w.data<double>()[o * w.pitch() + i];
        const Tensor& scales = epilogue.sample_scale;
        const double scale = scales ? scales.data<float>()[r * scales.numel() / rows] : 1;
        const double add = residual ? residual.data<double>()[r * residual.pitch() + o] : 0;
        if (const Tensor& pre = epilogue.pre_activation) pre.data<double>()[r * pre.pitch() + o] = sum;
        y.data<double>()[r * y.pitch() + o] = act.value(sum) * scale + add;
      }
  });
}

void linear_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w) {
  for (int64_t r = 0; r < dy.rows(); ++r)
    for (int64_t i = 0; i < w.shape(1); ++i) {
      double sum = 0;
      for (int64_t o = 0; o < w.shape(0); ++o)
        sum += dy.data<double>()[r * dy.pitch() + o] * w.data<double>()[o * w.pitch() + i];
      dx.data<double>()[r * dx.pitch() + i] = sum;
    }
}

void linear_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x) {
  for (int64_t o = 0; o < dw.shape(0); ++o) {
    for (int64_t i = 0; i < dw.shape(1); ++i) {
      double sum = 0;
      for (int64_t r = 0; r < x.rows(); ++r) sum += dy.data<double>()[r * dy.pitch() + o] * x.data<double>()[r * x.pitch() + i];
      dw.data<double>()[o * dw.pitch() + i] = sum;
    }
    if (db) {
      double sum = 0;
      for (int64_t r = 0; r < dy.rows(); ++r) sum += dy.data<double>()[r * dy.pitch() + o];
      db.data<double>()[o] = sum;
    }
  }
}

}  // namespace relume::cpu::reference
