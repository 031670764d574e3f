#include "models/diffusion/schedule.h"

#include <cmath>

#include "models/diffusion/linear_combination.h"

namespace relume {
namespace {

// n values from `first` to `last`, both included.
std::vector<double> evenly_spaced(double first, double last, int64_t n) {
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(first + double(i) * (last - first) / double(n - 1));
  return values;
}

std::vector<double> cumulative_alphas(const std::vector<double>& betas) {
  std::vector<double> alpha_bars;
  double product = 1;
  for (const double beta : betas) alpha_bars.push_back(product *= 1 - beta);
  return alpha_bars;
}

// sqrt(alpha_bar) shifted to end at 0 and stretched to begin where it did.
std::vector<double> with_zero_terminal_snr(const std::vector<double>& betas) {
  const std::vector<double> alpha_bars = cumulative_alphas(betas);
  const double first = std::sqrt(alpha_bars.front()), last = std::sqrt(alpha_bars.back());
  std::vector<double> moved;
  double before = 1;
  for (const double alpha_bar : alpha_bars) {
    const double root = (std::sqrt(alpha_bar) - last) * first / (first - last);
    moved.push_back(1 - root * root / before);
    before = root * root;
  }
  return moved;
}

// a[t] x + b[t] y with the t of each sample.
template <class A, class B>
Tensor combine_samples(const char* name, const Tensor& x, A&& a, const Tensor& y, B&& b, const std::vector<int64_t>& t) {
  RELUME_CHECK(x.rank() >= 1 && x.shape() == y.shape() && x.dtype() == y.dtype() && x.device() == y.device(), name, ": ", x,
               " and ", y, " given; expected tensors of one shape, dtype and device");
  RELUME_CHECK(x.shape(0) == int64_t(t.size()), name, ": ", t.size(), " times given for the ", x.shape(0), " samples of ", x);
  const Tensor out = empty_like(x);
  for (int64_t n = 0; n < x.shape(0); ++n) {
    const int64_t time = t[size_t(n)];
    const Tensor row = linear_combination({{a(time), x.slice(n, n + 1)}, {b(time), y.slice(n, n + 1)}});
    out.slice(n, n + 1).copy_from(row);
  }
  return out;
}

}  // namespace

std::vector<double> make_betas(const ScheduleOptions& options) {
  RELUME_CHECK(options.steps >= 2, "noise schedule: ", options.steps, " steps given, at least 2 are needed");
  for (const double beta : {options.first, options.last})
    RELUME_CHECK(beta > 0 && beta < 1, "noise schedule: beta ", beta, " is not between 0 and 1");
  const bool scaled = options.rule == BetaRule::scaled_linear;
  std::vector<double> betas = scaled ? evenly_spaced(std::sqrt(options.first), std::sqrt(options.last), options.steps)
                                     : evenly_spaced(options.first, options.last, options.steps);
  for (double& beta : betas) {
    if (scaled) beta *= beta;
    if (options.rule == BetaRule::square_root) beta = std::sqrt(beta);
  }
  return options.zero_terminal_snr ? with_zero_terminal_snr(betas) : betas;
}

NoiseSchedule::NoiseSchedule(const ScheduleOptions& options) : alpha_bars_(cumulative_alphas(make_betas(options))) {}

double NoiseSchedule::alpha_bar(int64_t t) const {
  RELUME_CHECK(t >= 0 && t < steps(), "noise schedule: time ", t, " is outside of 0 .. ", steps() - 1);
  return alpha_bars_[size_t(t)];
}
double NoiseSchedule::alpha(int64_t t) const { return std::sqrt(alpha_bar(t)); }
double NoiseSchedule::sigma(int64_t t) const { return std::sqrt(1 - alpha_bar(t)); }

Tensor add_noise(const NoiseSchedule& schedule, const Tensor& x0, const Tensor& noise, const std::vector<int64_t>& t) {
  const auto alpha = [&](int64_t time) { return schedule.alpha(time); };
  const auto sigma = [&](int64_t time) { return schedule.sigma(time); };
  return combine_samples("add_noise", x0, alpha, noise, sigma, t);
}

Tensor velocity(const NoiseSchedule& schedule, const Tensor& x0, const Tensor& noise, const std::vector<int64_t>& t) {
  const auto alpha = [&](int64_t time) { return schedule.alpha(time); };
  const auto minus_sigma = [&](int64_t time) { return -schedule.sigma(time); };
  return combine_samples("velocity", noise, alpha, x0, minus_sigma, t);
}

NoisedLatents noised_latents(const NoiseSchedule& schedule, Prediction prediction, const Tensor& x0, const Tensor& noise,
                             const std::vector<int64_t>& t) {
  return {.x = add_noise(schedule, x0, noise, t),
          .target = prediction == Prediction::v ? velocity(schedule, x0, noise, t) : noise};
}

Tensor predicted_x0(Prediction prediction, const Tensor& x, const Tensor& predicted, double alpha, double sigma) {
  RELUME_CHECK(x.shape() == predicted.shape() && x.dtype() == predicted.dtype(), "diffusion: the network made ", predicted,
               " of ", x, "; expected the same shape and dtype");
  if (prediction == Prediction::v) return linear_combination({{alpha, x}, {-sigma, predicted}});
  RELUME_CHECK(alpha > 0,
               "diffusion: a model that predicts noise cannot begin at pure noise (alpha_bar 0): use a schedule "
               "without zero terminal SNR, or a model that predicts v");
  return linear_combination({{1 / alpha, x}, {-sigma / alpha, predicted}});
}

}  // namespace relume
