// Restoration guidance (DiffBIR, Lin et al. 2024, version 2.0; spec/diffbir.md 5.7): at each step the estimate of x_0 is moved
// towards what stage one restored, everywhere or in flat areas alone. Works with every sampler, as its hook. Knows no
// autoencoder: decoder and latent target are functions.
#pragma once

#include <functional>

#include "models/diffusion/sampler.h"

namespace relume {

// W [N, H, W, 1] f32 from a picture [N, H, W, 3], f32 in [-1, 1], H and W even: near 1 where it is flat, near 0 at edges and in
// texture. One value for each block of two by two pixels: 1 - tanh(sum of the magnitudes of Sobel's gradient of the grey
// picture). Computed on the CPU, once a course; lies where the picture does.
Tensor region_weights(const Tensor& picture);
// [N, H, W, 1] to [N, H, W, channels], for maps of several channels.
Tensor repeat_channel(const Tensor& map, int64_t channels);

// One application to a prediction y [N, H, W, C]: loss = sum over the samples of mean(W (y - target)^2), delta = -scale times
// its gradient towards y. `weights` has y's shape or is undefined (1 everywhere).
struct GuidanceMove {
  Tensor delta;
  Tensor loss;  // scalar [], on the device
};
GuidanceMove guidance_move(const Tensor& y, const Tensor& target, const Tensor& weights, double scale);

struct RestorationGuidanceOptions {
  double scale = 0;     // as published: 3000 times this multiplies the gradient
  double start = 1001;  // at network times with stop < t + 1 < start
  double stop = -1;
  int repeat = 1;               // applications in each of these steps
  bool region_adaptive = true;  // with region_weights() of the target; pictures alone
};

// Decodes latents to a picture [N, H, W, 3] in [-1, 1], with all scaling of latents. Differentiable; what its network is made
// of wants no gradient.
using LatentDecoder = std::function<Tensor(const Tensor& latents)>;
// The latents of the target for application 0, 1, ... of a course: the reference takes a new sample of the posterior each time.
using LatentTarget = std::function<Tensor(int64_t application)>;

class RestorationGuidance {
 public:
  // In pictures: target [N, H, W, 3], f32 in [-1, 1], where the latents lie. The gradient passes through the decoder.
  RestorationGuidance(const Tensor& target, LatentDecoder decoder, const RestorationGuidanceOptions& options);
  // In latents. InputError for region-adaptive options.
  RestorationGuidance(LatentTarget target, const RestorationGuidanceOptions& options);

  bool active(double t) const;
  // The hook: x_0 moved so that the mean of the next latents moves by the delta. InputError under NoGrad in pictures.
  Tensor operator()(const Tensor& x0, const SampleStep& step);
  // Of the last step where it was active: mean over the applications. Undefined before.
  const Tensor& loss() const { return loss_; }

 private:
  GuidanceMove move_in_pictures(const Tensor& x0) const;
  GuidanceMove move_in_latents(const Tensor& x0);
  double published_scale() const;

  RestorationGuidanceOptions options_;
  Tensor target_, weights_;
  LatentDecoder decoder_;  // empty in latents
  LatentTarget latent_target_;
  int64_t applications_ = 0;
  Tensor loss_;
};

}  // namespace relume
