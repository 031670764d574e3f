// The noise schedule of a diffusion model (spec/diffbir.md 4.1 and 4.2; Ho et al. 2020, Salimans and Ho 2022, Lin et al. 2023):
//   x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps,  alpha_bar_t = product of (1 - beta_s) for s <= t,  t = 0 .. T-1
// Its numbers are f64. Tensors are latents [N, H, W, C] of a float type, which their results keep, on any device.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

// How beta grows from its first to its last value. Stable Diffusion's is linear in the square root.
enum class BetaRule {
  scaled_linear,  // (linear from sqrt(first) to sqrt(last))^2; "linear" in the reference
  linear,         // "sqrt_linear" in the reference
  square_root,    // sqrt(linear); "sqrt" in the reference
};

struct ScheduleOptions {
  BetaRule rule = BetaRule::scaled_linear;
  int64_t steps = 1000;            // T, at least 2
  double first = 0.00085;          // beta_0, in (0, 1)
  double last = 0.012;             // beta_{T-1}, in (0, 1)
  bool zero_terminal_snr = false;  // moved so that alpha_bar_{T-1} is 0 (Lin et al. 2023): v models alone
};

std::vector<double> make_betas(const ScheduleOptions& options);

class NoiseSchedule {
 public:
  explicit NoiseSchedule(const ScheduleOptions& options = {});  // InputError when an option is out of its range

  int64_t steps() const { return int64_t(alpha_bars_.size()); }  // T
  const std::vector<double>& alpha_bars() const { return alpha_bars_; }
  double alpha_bar(int64_t t) const;  // InputError unless 0 <= t < T
  double alpha(int64_t t) const;      // sqrt(alpha_bar_t), the share of x_0 in x_t
  double sigma(int64_t t) const;      // sqrt(1 - alpha_bar_t), the share of noise

 private:
  std::vector<double> alpha_bars_;
};

// What a network predicts: the noise eps, or the velocity v = alpha eps - sigma x_0.
enum class Prediction { eps, v };

// x_t from x_0 and noise of the same shape, with one t for each sample.
Tensor add_noise(const NoiseSchedule& schedule, const Tensor& x0, const Tensor& noise, const std::vector<int64_t>& t);
// v of the same: what a v model learns.
Tensor velocity(const NoiseSchedule& schedule, const Tensor& x0, const Tensor& noise, const std::vector<int64_t>& t);

// What a network learns from (spec/diffbir.md 4.2): latents at times t, one for each sample, and what it should predict of
// them.
struct NoisedLatents {
  Tensor x, target;
};
NoisedLatents noised_latents(const NoiseSchedule& schedule, Prediction prediction, const Tensor& x0, const Tensor& noise,
                             const std::vector<int64_t>& t);

// x_0 from x = alpha x_0 + sigma eps (alpha^2 + sigma^2 = 1) and the network's prediction for it. InputError for an eps model
// at alpha = 0, where x holds nothing of x_0.
Tensor predicted_x0(Prediction prediction, const Tensor& x, const Tensor& predicted, double alpha, double sigma);

}  // namespace relume
