#include "tensor/kernels/norm.h"

#include <cmath>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/norm_rows.h"
#include "tensor/cpu/reference/reference.h"

namespace relume::cpu {
namespace {

// A row or parameter in f32: the data itself where it is f32, else a widened copy.
template <class T> class WideRow {
 public:
  explicit WideRow(int64_t columns) : copy_(std::is_same_v<T, float> ? 0 : size_t(columns)), columns_(columns) {}
  WideRow(const Tensor& t, int64_t columns) : WideRow(columns) { load(t.data<T>()); }
  const float* load(const T* from) {
    if constexpr (std::is_same_v<T, float>) {
      data_ = from;
    } else {
      float* to = copy_.data();
#pragma omp simd
      for (int64_t c = 0; c < columns_; ++c) to[c] = get(from[c]);
      data_ = to;
    }
    return data_;
  }
  const float* data() const { return data_; }

 private:
  std::vector<float> copy_;
  int64_t columns_;
  const float* data_ = nullptr;
};

template <class T>
void forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias, float eps) {
  const int64_t columns = columns_of(x);
  const WideRow<T> scale(weight, columns), shift(bias, columns);
  const Strided<T> from(x), to(y);
  parallel_for(x.rows(), std::max<int64_t>(1, grain / columns), [&](int64_t begin, int64_t end) {
    WideRow<T> row(columns);
    const float *w = scale.data(), *b = shift.data();
    for (int64_t r = begin; r < end; ++r) {
      const float* p = row.load(from.at(r, 0));
      const RowStatistics s = row_statistics(p, columns, eps);
      const float offset = -s.correction * s.rstd;
      T* o = to.at(r, 0);
#pragma omp simd
      for (int64_t c = 0; c < columns; ++c) put(o[c], std::fma(std::fma(p[c] - s.mean, s.rstd, offset), w[c], b[c]));
      if (stats) {
        stats.data<float>()[2 * r] = s.mean + s.correction;
        stats.data<float>()[2 * r + 1] = s.rstd;
      }
    }
  });
}

// Fixed blocks of rows add up their share of dweight and dbias; the shares are then added in order and in double.
template <class T> void backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy,
                                 const Tensor& x, const Tensor& stats, const Tensor& weight) {
  const int64_t columns = columns_of(x), rows = x.rows(), block = std::clamp<int64_t>(grain / columns, 16, 128);
  const int64_t blocks = (rows + block - 1) / block;
  const bool parameters = dweight || dbias;
  const WideRow<T> scale(weight, columns);
  const Strided<T> gradients(dy), inputs(x), outputs(dx ? dx : x);
  const float* statistic = stats.data<float>();
  std::vector<float> partial(parameters ? size_t(blocks * 2 * columns) : 0);
  parallel_for(rows, block, [&](int64_t begin, int64_t end) {
    WideRow<T> gradient_row(columns), input_row(columns);
    std::vector<float> wide_dx(std::is_same_v<T, float> ? 0 : size_t(columns));
    for (int64_t r = begin; r < end; ++r) {
      const float *g = gradient_row.load(gradients.at(r, 0)), *p = input_row.load(inputs.at(r, 0));
      const float mean = statistic[2 * r], rstd = statistic[2 * r + 1];
      if (parameters) {
        float* dw = &partial[size_t(r / block * 2 * columns)];
        normalise_row_parameters(dw, dw + columns, g, p, mean, rstd, columns);
      }
      if (!dx) continue;
      if constexpr (std::is_same_v<T, float>) {
        normalise_row_backward(outputs.at(r, 0), g, p, scale.data(), mean, rstd, columns, nullptr);
      } else {
        normalise_row_backward(wide_dx.data(), g, p, scale.data(), mean, rstd, columns, nullptr);
        for (int64_t c = 0; c < columns; ++c) put(outputs.at(r, 0)[c], wide_dx[size_t(c)]);
      }
    }
  });
  if (!parameters) return;
  std::vector<double> total(size_t(2 * columns));
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t c = 0; c < 2 * columns; ++c) total[size_t(c)] += double(partial[size_t(b * 2 * columns + c)]);
  for (int64_t c = 0; c < columns; ++c) {
    if (dweight) put(dweight.data<T>()[c], float(total[size_t(c)]));
    if (dbias) put(dbias.data<T>()[c], float(total[size_t(columns + c)]));
  }
}

// Calls f.operator()<T>() for the 16 and 32-bit floats; f64 has kernels of its own.
template <class F> void visit_narrow(const char* slot, const Tensor& t, F&& f) {
  visit_float(slot, t, [&]<class T>() {
    if constexpr (!std::is_same_v<T, double>) f.template operator()<T>();
  });
}

void layer_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        double eps) {
  if (x.numel() == 0) return;
  if (x.dtype() == DType::f64) return reference::layer_norm_forward(y, stats, x, weight, bias, eps);
  visit_narrow("layer_norm_forward", x, [&]<class T>() { forward<T>(y, stats, x, weight, bias, float(eps)); });
}

void layer_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight) {
  if (columns_of(x) == 0) return;
  if (x.dtype() == DType::f64) return reference::layer_norm_backward(dx, dweight, dbias, dy, x, stats, weight);
  visit_narrow("layer_norm_backward", x, [&]<class T>() { backward<T>(dx, dweight, dbias, dy, x, stats, weight); });
}

}  // namespace

void register_norm_kernels() {
  kernels::layer_norm_forward.set(DeviceKind::cpu, layer_norm_forward);
  kernels::layer_norm_backward.set(DeviceKind::cpu, layer_norm_backward);
}

}  // namespace relume::cpu
