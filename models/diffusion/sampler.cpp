#include "models/diffusion/sampler.h"

#include <cmath>

#include "autograd/graph.h"

namespace relume {
namespace {

Tensor plain_estimate(const DiffusionModel& model, const Tensor& x, double alpha, double sigma, double time) {
  const NoGrad no_grad;
  return predicted_x0(model.prediction, x, model.denoiser(x, time), alpha, sigma);
}

void check_alike(const char* what, const Tensor& made, const Tensor& x) {
  RELUME_CHECK(made.shape() == x.shape() && made.dtype() == x.dtype() && made.device() == x.device(), "sampling: ", what,
               " gave ", made, " for latents ", x, "; expected the same shape, dtype and device");
}

}  // namespace

Tensor estimate_x0(const DiffusionModel& model, const Sampling& sampling, const Tensor& x, double alpha, double sigma,
                   const SampleStep& step) {
  return after_hook(plain_estimate(model, x, alpha, sigma, step.time), sampling, step);
}

Tensor after_hook(const Tensor& x0, const Sampling& sampling, const SampleStep& step) {
  if (!sampling.hook) return x0;
  const Tensor changed = sampling.hook(x0, step).detach();
  check_alike("the hook", changed, x0);
  return changed;
}

Tensor noise_like(const Tensor& x, const Sampling& sampling, int64_t draw) {
  RELUME_CHECK(sampling.noise, "sampling: this sampler draws noise, and no source of it was given");
  const Tensor noise = sampling.noise(draw);
  check_alike("the source of noise", noise, x);
  return noise;
}

double posterior_x0_weight(double alpha_bar, double next_alpha_bar) {
  return std::sqrt(next_alpha_bar) * (1 - alpha_bar / next_alpha_bar) / (1 - alpha_bar);
}

}  // namespace relume
