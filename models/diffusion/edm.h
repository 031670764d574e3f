// The samplers of Karras et al. 2022 and their relatives, on x = x_0 + sigma eps (spec/diffbir.md 5.6).
#pragma once

#include <string>
#include <vector>

#include "models/diffusion/sampler.h"

namespace relume {

enum class EdmSolver {
  euler,         // with churn; draw i in step i
  euler_a,       // ancestral; draw i in step i but the last
  heun,          // as euler
  dpm_2,         // as euler
  dpm_2_a,       // as euler_a
  lms,           // Adams-Bashforth of options.order; draws nothing
  dpmpp_2s_a,    // as euler_a
  dpmpp_sde,     // draws 2 i and 2 i + 1 in step i but the last
  dpmpp_2m,      // draws nothing
  dpmpp_2m_sde,  // as euler_a
  dpmpp_3m_sde,  // as euler_a
};
// By its published name: "euler", "dpm_2_a", "dpm++_3m_sde". InputError for any other.
EdmSolver edm_solver_named(const std::string& name);

struct EdmOptions {
  EdmSolver solver = EdmSolver::dpmpp_3m_sde;
  double s_churn = 0, s_tmin = 0, s_tmax = 300;  // euler, heun, dpm_2: noise added first where s_tmin <= sigma <= s_tmax
  double s_noise = 1;                            // factor of all noise
  double eta = 1;                                // ancestral and SDE solvers: 0 adds no noise
  int order = 1;                                 // lms: 1 to 4
  // As the reference computes, to compare with it: every model starts at sigma 1e4, and scalars are f32 where that shows. For
  // f32 latents; what is between two calls of the network is computed on the CPU. Otherwise sampling starts at the sigma of the
  // model's own schedule, which is 1e4 with zero terminal SNR alone.
  bool exact_reference = false;
};

// Falling times of the network and their sigmas, `steps` of each, then time 0 and sigma 0.
struct EdmGrid {
  std::vector<int64_t> times;
  std::vector<double> sigmas;
};
EdmGrid edm_grid(const NoiseSchedule& schedule, int64_t steps, bool exact_reference);

// x_0 from x = x_0 + sigma eps, in step i of the course.
using EdmDenoiser = std::function<Tensor(const Tensor& x, double sigma, int64_t step)>;

// x at the last of the sigmas from x at the first. They fall strictly; the last may be 0.
Tensor solve_edm(const std::vector<double>& sigmas, const EdmOptions& options, const EdmDenoiser& denoiser, const Tensor& x,
                 const Sampling& sampling);

// x_0 from standard normal latents x, by solve_edm() on the grid. The network is asked at the grid's time whose sigma is
// nearest, also inside a step.
Tensor sample_edm(const DiffusionModel& model, int64_t steps, const EdmOptions& options, const Tensor& x,
                  const Sampling& sampling);

}  // namespace relume
