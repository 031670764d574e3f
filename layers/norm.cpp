#include "layers/norm.h"

#include <cmath>

namespace relume {

GroupNorm::Statistics GroupNorm::statistics(const Tensor& x) const {
  RELUME_CHECK(x.rank() == 4 && x.shape(0) == 1, "GroupNorm: statistics of ", x, ", expected one sample");
  const NoGrad no_grad;
  const Tensor stats = Tensor::empty({1, options_.groups, 2}, DType::f32, x.device());
  kernels::group_norm_forward.on(x.device())(empty_like(x), stats, x, parameter_for(x, weight), parameter_for(x, bias),
                                             options_);
  const Tensor numbers = stats.to(Device{});
  Statistics s;
  for (int g = 0; g < options_.groups; ++g) {
    const double rstd = numbers.data<float>()[2 * g + 1];
    s.mean.push_back(numbers.data<float>()[2 * g]);
    s.variance.push_back(1 / (rstd * rstd) - options_.eps);
  }
  return s;
}

Tensor GroupNorm::by(const Statistics& s, const Tensor& x) const {
  const int64_t channels = x.shape(-1), in_group = channels / options_.groups;
  const Tensor w = weight.detach().to(Device{}), b = bias.detach().to(Device{});
  std::vector<double> factor(size_t(channels), 0.0), shift(size_t(channels), 0.0);
  for (int64_t c = 0; c < channels; ++c) {
    const size_t g = size_t(c / in_group), at = size_t(c);
    factor[at] = w.data<float>()[c] / std::sqrt(s.variance[g] + options_.eps);
    shift[at] = b.data<float>()[c] - s.mean[g] * factor[at];
  }
  return activate(channel_affine(x, factor, shift), options_.act);
}

}  // namespace relume
