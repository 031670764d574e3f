#include "models/diffusion/classifier_free.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "models/diffusion/linear_combination.h"

namespace relume {

double classifier_free_scale(const ClassifierFreeOptions& options, double t) {
  constexpr double published_steps = 1000;
  if (!options.rescale || options.scale <= 1) return options.scale;
  const double done = std::pow((published_steps - t) / published_steps, 5);
  return 1 + options.scale * (1 - std::cos(std::numbers::pi * done)) / 2;
}

Tensor twice(const Tensor& x) {
  const int64_t samples = x.shape(0);
  const Tensor both = Tensor::empty(x.shape().with(0, 2 * samples), x.dtype(), x.device());
  both.slice(0, samples).copy_from(x);
  both.slice(samples, 2 * samples).copy_from(x);
  return both;
}

Denoiser classifier_free(ConditionedDenoiser denoiser, const ClassifierFreeOptions& options) {
  RELUME_CHECK(options.scale >= 0, "classifier-free guidance: scale ", options.scale, " is negative");
  return [denoiser = std::move(denoiser), options](const Tensor& x, double t) {
    const double w = classifier_free_scale(options, t);
    if (options.scale == 1 || (options.skip_negative && w == 1)) return denoiser(x, t, Texts::positive);
    const int64_t samples = x.shape(0);
    const Tensor batch = twice(x), both = denoiser(batch, t, Texts::both);
    RELUME_CHECK(both.shape() == batch.shape(), "classifier-free guidance: the network made ", both, " of ", batch);
    const Tensor positive = both.slice(0, samples), negative = both.slice(samples, 2 * samples);
    return add_rounded(negative, w, linear_combination({{1, positive}, {-1, negative}}));
  };
}

}  // namespace relume
