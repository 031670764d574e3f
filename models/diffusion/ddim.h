// DDIM (Song et al. 2020; spec/diffbir.md 5.6).
#pragma once

#include <vector>

#include "models/diffusion/sampler.h"

namespace relume {

struct DdimStep {
  int64_t time = 0;
  double alpha_bar = 0, next_alpha_bar = 0;
  double sigma = 0;  // deviation of the noise that is added
};

// By ascending time: 1, 1 + c, 1 + 2 c, ... with c = T / steps, so that there are more than `steps` of them when it does not
// divide T. eta = 0 adds no noise, 1 as much as ancestral sampling. InputError when a time falls beyond the schedule.
std::vector<DdimStep> ddim_schedule(const NoiseSchedule& schedule, int64_t steps, double eta);

// Latents at time 0 from x, latents at the largest of those times (pure noise is a little noisier). Step i takes draw i unless
// eta is 0.
Tensor sample_ddim(const DiffusionModel& model, int64_t steps, double eta, const Tensor& x, const Sampling& sampling);

}  // namespace relume
