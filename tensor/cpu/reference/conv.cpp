#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {
namespace {

// Calls f(output offset, input offset, weight tap offset) for every pair of pixels that one kernel tap joins; offsets are those
// of channel 0 in y, x and of [0, tap, 0] in w. Enlarging x repeats its pixels.
template <class F> void for_each_tap(const Tensor& y, const Tensor& x, const Tensor& w, const kernels::ConvOptions& o, F&& f) {
  const int64_t height = x.shape(1) * o.enlarge, width = x.shape(2) * o.enlarge, kh = w.shape(1), kw = w.shape(2),
                in = w.shape(3);
  for (int64_t n = 0; n < y.shape(0); ++n)
    for (int64_t i = 0; i < y.shape(1); ++i)
      for (int64_t j = 0; j < y.shape(2); ++j)
        for (int64_t a = 0; a < kh; ++a)
          for (int64_t b = 0; b < kw; ++b) {
            const int64_t row = i * o.stride - o.top + a, column = j * o.stride - o.left + b;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            const int64_t pixel = (n * x.shape(1) + row / o.enlarge) * x.shape(2) + column / o.enlarge;
            f(((n * y.shape(1) + i) * y.shape(2) + j) * y.pitch(), pixel * x.pitch(), (a * kw + b) * in);
          }
}

}  // namespace

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                    const kernels::ConvEpilogue& epilogue) {
  const int64_t out = w.shape(0), in = w.shape(3), taps = w.shape(1) * w.shape(2);
  const Tensor sum = Tensor::zeros(y.shape(), DType::f64);
  for_each_tap(sum, x, w, options, [&](int64_t at_y, int64_t at_x, int64_t at_w) {
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        sum.data<double>()[at_y + o] += x.data<double>()[at_x + i] * w.data<double>()[o * taps * in + at_w + i];
  });
  visit_activation(epilogue.act, [&](auto act) {
    for (int64_t r = 0; r < y.rows(); ++r)
      for (int64_t o = 0; o < out; ++o) {
        const double value = sum.data<double>()[r * out + o] + (bias ? bias.data<double>()[o] : 0);
        const double add = epilogue.residual ? epilogue.residual.data<double>()[r * epilogue.residual.pitch() + o] : 0;
        y.data<double>()[r * y.pitch() + o] = act.value(value) + add;
      }
  });
}

void conv2d_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w, const kernels::ConvOptions& options) {
  const int64_t out = w.shape(0), in = w.shape(3), taps = w.shape(1) * w.shape(2);
  kernels::fill.on(dx.device())(dx, 0);
  for_each_tap(dy, dx, w, options, [&](int64_t at_y, int64_t at_x, int64_t at_w) {
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        dx.data<double>()[at_x + i] += dy.data<double>()[at_y + o] * w.data<double>()[o * taps * in + at_w + i];
  });
}

void conv2d_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x,
                            const kernels::ConvOptions& options) {
  const int64_t out = dw.shape(0), in = dw.shape(3), taps = dw.shape(1) * dw.shape(2);
  kernels::fill.on(dw.device())(dw, 0);
  for_each_tap(dy, x, dw, options, [&](int64_t at_y, int64_t at_x, int64_t at_w) {
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        dw.data<double>()[o * taps * in + at_w + i] += dy.data<double>()[at_y + o] * x.data<double>()[at_x + i];
  });
  if (!db) return;
  for (int64_t o = 0; o < out; ++o) {
    double sum = 0;
    for (int64_t r = 0; r < dy.rows(); ++r) sum += dy.data<double>()[r * dy.pitch() + o];
    db.data<double>()[o] = sum;
  }
}

}  // namespace relume::cpu::reference
