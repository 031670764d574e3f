#include "models/diffusion/edm.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/graph.h"
#include "base/text.h"
#include "models/diffusion/linear_combination.h"

namespace relume {
namespace {

constexpr double smallest_alpha_bar = 1e-8;  // of the first sigma, 1e4: where zero terminal SNR would begin at infinity

const std::map<std::string, EdmSolver>& solvers() {
  static const std::map<std::string, EdmSolver> named{{"euler", EdmSolver::euler},
                                                      {"euler_a", EdmSolver::euler_a},
                                                      {"heun", EdmSolver::heun},
                                                      {"dpm_2", EdmSolver::dpm_2},
                                                      {"dpm_2_a", EdmSolver::dpm_2_a},
                                                      {"lms", EdmSolver::lms},
                                                      {"dpm++_2s_a", EdmSolver::dpmpp_2s_a},
                                                      {"dpm++_sde", EdmSolver::dpmpp_sde},
                                                      {"dpm++_2m", EdmSolver::dpmpp_2m},
                                                      {"dpm++_2m_sde", EdmSolver::dpmpp_2m_sde},
                                                      {"dpm++_3m_sde", EdmSolver::dpmpp_3m_sde}};
  return named;
}

size_t nearest(const std::vector<double>& sigmas, double sigma) {
  const auto closer = [&](double a, double b) { return std::abs(a - sigma) < std::abs(b - sigma); };
  return size_t(std::min_element(sigmas.begin(), sigmas.end(), closer) - sigmas.begin());
}

double alpha_bar_of(double sigma) { return 1 / (1 + sigma * sigma); }

// x_0 from x = x_0 + sigma eps.
Tensor estimate(const DiffusionModel& model, const Tensor& x, double sigma, double time) {
  const NoGrad no_grad;
  const double alpha_bar = alpha_bar_of(sigma), alpha = std::sqrt(alpha_bar);
  const Tensor predicted = model.denoiser(linear_combination({{alpha, x}}), time);
  const bool v = model.prediction == Prediction::v;
  const Tensor kept = linear_combination({{v ? alpha_bar : 1, x}});
  return add_rounded(kept, v ? -sigma * alpha : -sigma, predicted);
}

}  // namespace

EdmSolver edm_solver_named(const std::string& name) {
  const auto at = solvers().find(name);
  if (at != solvers().end()) return at->second;
  std::vector<std::string> names;
  for (const auto& [known, solver] : solvers()) names.push_back(known);
  throw InputError(detail::concat("EDM sampling: unknown solver '", name, "'", did_you_mean(name, names)));
}

EdmGrid edm_grid(const NoiseSchedule& schedule, int64_t steps, bool exact_reference) {
  const int64_t last = schedule.steps() - 1;
  RELUME_CHECK(steps >= 1 && steps <= last, "EDM sampling: ", steps, " steps asked for; 1 to ", last, " are possible");
  EdmGrid grid;
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t time = last * (steps - i) / steps;
    const double own = std::max(schedule.alpha_bar(time), smallest_alpha_bar);
    const double alpha_bar = exact_reference && i == 0 ? smallest_alpha_bar : own;
    const double sigma = std::sqrt((1 - alpha_bar) / alpha_bar);
    grid.times.push_back(time);
    grid.sigmas.push_back(exact_reference ? double(float(sigma)) : sigma);
  }
  grid.times.push_back(0);
  grid.sigmas.push_back(0);
  return grid;
}

Tensor sample_edm(const DiffusionModel& model, int64_t steps, const EdmOptions& options, const Tensor& x,
                  const Sampling& sampling) {
  const EdmGrid grid = edm_grid(model.schedule, steps, options.exact_reference);
  const std::vector<double>& sigmas = grid.sigmas;
  const EdmDenoiser denoiser = [&](const Tensor& noisy, double sigma, int64_t i) {
    const SampleStep shown{
        .index = i,
        .count = steps,
        .time = double(grid.times[nearest(sigmas, sigma)]),
        .x0_weight = posterior_x0_weight(alpha_bar_of(sigmas[size_t(i)]), alpha_bar_of(sigmas[size_t(i) + 1]))};
    return after_hook(estimate(model, noisy, sigma, shown.time), sampling, shown);
  };
  const Tensor start = linear_combination({{std::sqrt(1 + sigmas[0] * sigmas[0]), x}});
  return solve_edm(sigmas, options, denoiser, start, sampling);
}

}  // namespace relume
