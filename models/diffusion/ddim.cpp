#include "models/diffusion/ddim.h"

#include <algorithm>
#include <cmath>

#include "models/diffusion/linear_combination.h"

namespace relume {

std::vector<DdimStep> ddim_schedule(const NoiseSchedule& schedule, int64_t steps, double eta) {
  RELUME_CHECK(steps >= 1 && steps <= schedule.steps(), "DDIM: ", steps, " steps asked for; 1 to ", schedule.steps(),
               " are possible");
  RELUME_CHECK(eta >= 0 && eta <= 1, "DDIM: eta ", eta, " is outside of 0 .. 1");
  const int64_t stride = schedule.steps() / steps;
  std::vector<DdimStep> table;
  double next = schedule.alpha_bar(0);
  for (int64_t start = 0; start < schedule.steps(); start += stride) {
    RELUME_CHECK(start + 1 < schedule.steps(), "DDIM: ", steps, " steps reach beyond the schedule, to time ", start + 1,
                 "; choose a number of steps that divides ", schedule.steps());
    const double alpha_bar = schedule.alpha_bar(start + 1);
    const double sigma = eta * std::sqrt((1 - next) / (1 - alpha_bar) * (1 - alpha_bar / next));
    table.push_back({.time = start + 1, .alpha_bar = alpha_bar, .next_alpha_bar = next, .sigma = sigma});
    next = alpha_bar;
  }
  return table;
}

Tensor sample_ddim(const DiffusionModel& model, int64_t steps, double eta, const Tensor& x, const Sampling& sampling) {
  const std::vector<DdimStep> table = ddim_schedule(model.schedule, steps, eta);
  const int64_t count = int64_t(table.size());
  Tensor latents = x;
  for (int64_t i = 0; i < count; ++i) {
    const DdimStep& step = table[size_t(count - 1 - i)];
    const double alpha = std::sqrt(step.alpha_bar), sigma = std::sqrt(1 - step.alpha_bar);
    const SampleStep shown{.index = i,
                           .count = count,
                           .time = double(step.time),
                           .x0_weight = posterior_x0_weight(step.alpha_bar, step.next_alpha_bar)};
    const Tensor x0 = estimate_x0(model, sampling, latents, alpha, sigma, shown);
    const Tensor noise = step.sigma > 0 ? noise_like(x, sampling, i) : Tensor();
    // sqrt(alpha_bar') x_0 + direction * eps + noise, with the eps that goes with x_0: (x - alpha x_0) / sigma.
    const double direction = std::sqrt(std::max(0.0, 1 - step.next_alpha_bar - step.sigma * step.sigma)) / sigma;
    latents = linear_combination(
        {{std::sqrt(step.next_alpha_bar) - direction * alpha, x0}, {direction, latents}, {step.sigma, noise}});
  }
  return latents;
}

}  // namespace relume
