// What every sampler stands on: a denoiser behind a function, so that none knows a network, and a view of x_0 at each step.
// Scalars are f64; latents are float tensors of any shape [N, ...] and keep their type and device. Nothing is recorded for
// gradients but by the hook itself.
#pragma once

#include <cstdint>
#include <functional>

#include "models/diffusion/noise.h"
#include "models/diffusion/schedule.h"
#include "tensor/core/tensor.h"

namespace relume {

// What the network predicts for latents x at time t of its schedule, 0 .. T-1; DPM-Solver asks for times between them too.
using Denoiser = std::function<Tensor(const Tensor& x, double t)>;

struct DiffusionModel {
  NoiseSchedule schedule = NoiseSchedule();
  Prediction prediction = Prediction::eps;
  Denoiser denoiser;
};

struct SampleStep {
  int64_t index = 0, count = 0;  // step `index` of `count`; solvers that ask twice in a step show the same step twice
  double time = 0;               // the network's
  double x0_weight = 1;          // of x_0 in the mean of the next latents given these (posterior_mean_coef1): what moves x_0
                                 // by d / x0_weight moves that mean by d
};

// Sees every estimate of x_0 and gives the one to go on with: its argument when there is nothing to change. May throw to end
// the sampling. Runs in the caller's grad mode.
using X0Hook = std::function<Tensor(const Tensor& x0, const SampleStep& step)>;

struct Sampling {
  NoiseSource noise;  // needed by samplers that draw; a missing one is an InputError when the first draw is due
  X0Hook hook;        // may be empty
};

// The estimate of x_0 from latents x = alpha x_0 + sigma eps after the hook: one call of the denoiser.
Tensor estimate_x0(const DiffusionModel& model, const Sampling& sampling, const Tensor& x, double alpha, double sigma,
                   const SampleStep& step);

// An estimate of x_0 that a sampler made by itself, after the hook.
Tensor after_hook(const Tensor& x0, const Sampling& sampling, const SampleStep& step);

// Draw number `draw` for latents x. InputError when there is no source, or when it gives another shape or type.
Tensor noise_like(const Tensor& x, const Sampling& sampling, int64_t draw);

// SampleStep::x0_weight from one alpha_bar to the larger one of the next latents.
double posterior_x0_weight(double alpha_bar, double next_alpha_bar);

}  // namespace relume
