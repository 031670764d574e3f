#include <cmath>

#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {

void layer_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        double eps) {
  const int64_t columns = x.shape(-1);
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double* in = x.data<double>() + r * x.pitch();
    double* out = y.data<double>() + r * y.pitch();
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < columns; ++c) mean += in[c] / double(columns);
    for (int64_t c = 0; c < columns; ++c) variance += (in[c] - mean) * (in[c] - mean) / double(columns);
    const double rstd = 1 / std::sqrt(variance + eps);
    for (int64_t c = 0; c < columns; ++c) out[c] = (in[c] - mean) * rstd * weight.data<double>()[c] + bias.data<double>()[c];
    if (stats) {
      stats.data<double>()[2 * r] = mean;
      stats.data<double>()[2 * r + 1] = rstd;
    }
  }
}

// With xhat = (x - mean) rstd and g = dy weight: dx = rstd (g - mean(g) - xhat mean(g xhat)).
void layer_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight) {
  const int64_t columns = x.shape(-1);
  for (int64_t c = 0; c < columns; ++c) {
    if (dweight) dweight.data<double>()[c] = 0;
    if (dbias) dbias.data<double>()[c] = 0;
  }
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double *in = x.data<double>() + r * x.pitch(), *gradient = dy.data<double>() + r * dy.pitch();
    const double mean = stats.data<double>()[2 * r], rstd = stats.data<double>()[2 * r + 1];
    double mean_g = 0, mean_gx = 0;
    for (int64_t c = 0; c < columns; ++c) {
      const double xhat = (in[c] - mean) * rstd, g = gradient[c] * weight.data<double>()[c];
      mean_g += g / double(columns);
      mean_gx += g * xhat / double(columns);
      if (dweight) dweight.data<double>()[c] += gradient[c] * xhat;
      if (dbias) dbias.data<double>()[c] += gradient[c];
    }
    if (!dx) continue;
    for (int64_t c = 0; c < columns; ++c) {
      const double xhat = (in[c] - mean) * rstd, g = gradient[c] * weight.data<double>()[c];
      dx.data<double>()[r * dx.pitch() + c] = rstd * (g - mean_g - xhat * mean_gx);
    }
  }
}

}  // namespace relume::cpu::reference
