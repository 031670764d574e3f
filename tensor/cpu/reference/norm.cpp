#include <cmath>

#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {
namespace {

double& at(const Tensor& t, int64_t row, int64_t column) { return t.data<double>()[row * t.pitch() + column]; }

// Calls f(row, channel) for every element of one group of one sample.
template <class F> void for_each_of_group(const Tensor& x, int groups, int64_t sample, int64_t group, F&& f) {
  const int64_t pixels = x.rows() / x.shape(0), in_group = x.shape(-1) / groups;
  for (int64_t r = sample * pixels; r < (sample + 1) * pixels; ++r)
    for (int64_t c = group * in_group; c < (group + 1) * in_group; ++c) f(r, c);
}

double elements_of_group(const Tensor& x, int groups) { return double(x.numel()) / double(x.shape(0) * groups); }

}  // namespace

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

void group_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const kernels::GroupNormOptions& options) {
  const double count = elements_of_group(x, options.groups);
  const Tensor found = stats ? stats : Tensor::empty({x.shape(0), options.groups, 2}, DType::f64);
  for (int64_t n = 0; n < x.shape(0); ++n)
    for (int64_t g = 0; g < options.groups; ++g) {
      double mean = 0, variance = 0;
      const auto for_each = [&](auto&& f) { for_each_of_group(x, options.groups, n, g, f); };
      for_each([&](int64_t r, int64_t c) { mean += at(x, r, c) / count; });
      for_each([&](int64_t r, int64_t c) { variance += (at(x, r, c) - mean) * (at(x, r, c) - mean) / count; });
      found.data<double>()[2 * (n * options.groups + g)] = mean;
      found.data<double>()[2 * (n * options.groups + g) + 1] = 1 / std::sqrt(variance + options.eps);
    }
  if (y) group_norm_apply(y, x, found, weight, bias, options);
}

void group_norm_apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                      const kernels::GroupNormOptions& options) {
  const double *w = weight.data<double>(), *b = bias.data<double>();
  visit_activation(options.act, [&](auto act) {
    for (int64_t n = 0; n < x.shape(0); ++n)
      for (int64_t g = 0; g < options.groups; ++g) {
        const double mean = stats.data<double>()[2 * (n * options.groups + g)];
        const double rstd = stats.data<double>()[2 * (n * options.groups + g) + 1];
        for_each_of_group(x, options.groups, n, g,
                          [&](int64_t r, int64_t c) { at(y, r, c) = act.value((at(x, r, c) - mean) * rstd * w[c] + b[c]); });
      }
  });
}

// With xhat = (x - mean) rstd, dz = dy act'(xhat weight + bias) and g = dz weight: dx = rstd (g - mean(g) - xhat mean(g xhat)).
void group_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight, const Tensor& bias,
                         const kernels::GroupNormOptions& options) {
  const double count = elements_of_group(x, options.groups), *w = weight.data<double>(), *b = bias.data<double>();
  for (int64_t c = 0; c < x.shape(-1); ++c) {
    if (dweight) dweight.data<double>()[c] = 0;
    if (dbias) dbias.data<double>()[c] = 0;
  }
  visit_activation(options.act, [&](auto act) {
    for (int64_t n = 0; n < x.shape(0); ++n)
      for (int64_t g = 0; g < options.groups; ++g) {
        const double mean = stats.data<double>()[2 * (n * options.groups + g)];
        const double rstd = stats.data<double>()[2 * (n * options.groups + g) + 1];
        const auto xhat = [&](int64_t r, int64_t c) { return (at(x, r, c) - mean) * rstd; };
        const auto dz = [&](int64_t r, int64_t c) { return at(dy, r, c) * act.slope(xhat(r, c) * w[c] + b[c]); };
        const auto for_each = [&](auto&& f) { for_each_of_group(x, options.groups, n, g, f); };
        double mean_g = 0, mean_gx = 0;
        for_each([&](int64_t r, int64_t c) {
          mean_g += dz(r, c) * w[c] / count;
          mean_gx += dz(r, c) * w[c] * xhat(r, c) / count;
          if (dweight) dweight.data<double>()[c] += dz(r, c) * xhat(r, c);
          if (dbias) dbias.data<double>()[c] += dz(r, c);
        });
        if (!dx) continue;
        for_each([&](int64_t r, int64_t c) { at(dx, r, c) = rstd * (dz(r, c) * w[c] - mean_g - xhat(r, c) * mean_gx); });
      }
  });
}

}  // namespace relume::cpu::reference
