// Ancestral sampling of a subset of the steps (DDPM, Ho et al. 2020, with the respacing of Nichol and Dhariwal 2021;
// spec/diffbir.md 5.6).
#pragma once

#include <string>
#include <vector>

#include "models/diffusion/sampler.h"

namespace relume {

// Which of the times 0 .. steps-1 are kept, ascending. `counts` is a number of times ("50"), several for equal parts of the
// range ("10,15,20"), or "ddim50": multiples of the smallest stride that gives 50. InputError when it cannot be met.
std::vector<int64_t> spaced_times(int64_t steps, const std::string& counts);

// Between two kept times: mean of the next latents = mean_x0 * x_0 + mean_x * x, and their variance.
struct SpacedStep {
  int64_t time = 0;
  double alpha_bar = 0;
  double mean_x0 = 0, mean_x = 0, variance = 0;
};
std::vector<SpacedStep> spaced_schedule(const NoiseSchedule& schedule, int64_t steps);  // by ascending time

// Latents at time 0 from x, latents at time T-1, in `steps` steps. Step i = 0, 1, ... takes draw i, the last step none.
Tensor sample_spaced(const DiffusionModel& model, int64_t steps, const Tensor& x, const Sampling& sampling);

}  // namespace relume
