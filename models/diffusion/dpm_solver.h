// DPM-Solver and DPM-Solver++ (Lu et al. 2022), orders 1 to 3, single- and multistep, steps uniform in time
// (spec/diffbir.md 5.6).
#pragma once

#include <string>
#include <vector>

#include "models/diffusion/sampler.h"

namespace relume {

struct DpmOptions {
  bool predicts_data = true;  // DPM-Solver++ works on x_0, DPM-Solver on eps
  bool multistep = true;      // else single-step: the inner points of a step are evaluated anew
  int order = 2;              // 1, 2, 3
};
// The published names: "dpm++_m2" is {true, true, 2}, "dpm_s3" is {false, false, 3}. InputError for any other.
DpmOptions dpm_options(const std::string& name);

// The schedule in continuous time: log alpha linear between its values at t = 1/N, 2/N, ... 1. Values where lambda = log(alpha
// / sigma) is below -5.1 are dropped from the end, so that N is less than T with zero terminal SNR.
class DpmTime {
 public:
  explicit DpmTime(const NoiseSchedule& schedule);
  double last() const { return 1.0 / double(log_alphas_.size()); }  // where sampling ends; it begins at t = 1
  double log_alpha(double t) const;
  double network_time(double t) const { return (t - last()) * published_steps; }

 private:
  static constexpr double published_steps = 1000;
  std::vector<double> log_alphas_;
};

// Latents at the end of time from x, latents at its start, in `steps` calls of the denoiser. Orders rise to options.order with
// the first steps of multistep solvers, and fall again in the last ones when there are fewer than 10. Draws no noise.
Tensor sample_dpm(const DiffusionModel& model, int64_t steps, const DpmOptions& options, const Tensor& x,
                  const Sampling& sampling);

}  // namespace relume
