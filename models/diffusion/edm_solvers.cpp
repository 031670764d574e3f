// One function for each of the solvers: a step from sigma to the next one.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "models/diffusion/edm.h"
#include "models/diffusion/linear_combination.h"

namespace relume {
namespace {

class EdmRun {
 public:
  EdmRun(const std::vector<double>& sigmas, const EdmOptions& options, const EdmDenoiser& denoiser, Tensor x,
         const Sampling& sampling)
      : sigmas_(sigmas), options_(options), denoiser_(denoiser), sampling_(sampling), x_(std::move(x)) {}
  Tensor run();

 private:
  void step();
  void euler_step();
  void euler_ancestral_step();
  void heun_step();
  void dpm_2_step();
  void dpm_2_ancestral_step();
  void lms_step();
  void dpmpp_2s_ancestral_step();
  void dpmpp_sde_step();
  void dpmpp_2m_step();
  void dpmpp_2m_sde_step();
  void dpmpp_3m_sde_step();

  double sigma() const { return sigmas_[size_t(i_)]; }
  double next() const { return sigmas_[size_t(i_) + 1]; }
  bool ends_at_zero() const { return next() == 0; }
  Tensor denoised(const Tensor& x, double sigma) const { return denoiser_(x, sigma, i_); }
  Tensor noise(int64_t draw) const { return noise_like(x_, sampling_, draw); }
  double rounded(double v) const { return options_.exact_reference ? double(float(v)) : v; }
  Tensor slope(const Tensor& x, const Tensor& x0, double sigma) const;
  double middle(double from, double to) const;
  void remember(const Tensor& value, double h);
  void add_noise_between(double h, const Tensor& mean);
  Tensor through_middle(const Tensor& x, double from, double to) const;

  // Of an ancestral step: solve down to `down`, then add noise of deviation `up`.
  struct Ancestral {
    double down, up;
  };
  Ancestral ancestral(double from, double to) const;
  // x, or x with more noise, and its sigma.
  std::pair<Tensor, double> churned() const;

  const std::vector<double>& sigmas_;
  const EdmOptions& options_;
  const EdmDenoiser& denoiser_;
  const Sampling& sampling_;
  Tensor x_;
  int64_t i_ = 0;
  std::vector<Tensor> past_;    // multistep: of the steps before, the newest first
  std::vector<double> past_h_;  // the lengths of these steps in log sigma
};

// The exact solution of dx/dsigma = (x - x_0) / sigma with x_0 held.
Tensor solution(const Tensor& x, const Tensor& x0, double from, double to) {
  return linear_combination({{to / from, x}, {1 - to / from, x0}});
}

Tensor EdmRun::run() {
  for (i_ = 0; i_ + 1 < int64_t(sigmas_.size()); ++i_) step();
  return x_;
}

void EdmRun::step() {
  switch (options_.solver) {
    case EdmSolver::euler: return euler_step();
    case EdmSolver::euler_a: return euler_ancestral_step();
    case EdmSolver::heun: return heun_step();
    case EdmSolver::dpm_2: return dpm_2_step();
    case EdmSolver::dpm_2_a: return dpm_2_ancestral_step();
    case EdmSolver::lms: return lms_step();
    case EdmSolver::dpmpp_2s_a: return dpmpp_2s_ancestral_step();
    case EdmSolver::dpmpp_sde: return dpmpp_sde_step();
    case EdmSolver::dpmpp_2m: return dpmpp_2m_step();
    case EdmSolver::dpmpp_2m_sde: return dpmpp_2m_sde_step();
    case EdmSolver::dpmpp_3m_sde: return dpmpp_3m_sde_step();
  }
}

// In f32 in this order when the reference is asked for: from sigma 1e4, `down` is a difference of nearly equal numbers, and the
// reference's is its rounding.
EdmRun::Ancestral EdmRun::ancestral(double from, double to) const {
  if (options_.eta == 0) return {to, 0};
  const double from2 = rounded(from * from), to2 = rounded(to * to);
  const double share = rounded(rounded(to2 * rounded(from2 - to2)) / from2);
  const double up = std::min(to, rounded(options_.eta * rounded(std::sqrt(share))));
  return {rounded(std::sqrt(std::max(0.0, rounded(to2 - rounded(up * up))))), up};
}

// dx/dsigma. When the reference is asked for, the difference is divided in f64, so that it is rounded once, as by a division.
Tensor EdmRun::slope(const Tensor& x, const Tensor& x0, double sigma) const {
  const Tensor difference = linear_combination({{1, x}, {-1, x0}});
  if (!options_.exact_reference) return linear_combination({{1 / sigma, difference}});
  return linear_combination({{1 / sigma, difference.to(DType::f64)}}).to(x.dtype());
}

// Between two sigmas, in their logarithm.
double EdmRun::middle(double from, double to) const {
  if (!options_.exact_reference) return std::sqrt(from * to);
  const double a = rounded(std::log(from)), b = rounded(std::log(to));
  return rounded(std::exp(rounded(b - rounded(b - a) / 2)));
}

std::pair<Tensor, double> EdmRun::churned() const {
  const bool inside = options_.s_tmin <= sigma() && sigma() <= options_.s_tmax;
  const double steps = double(sigmas_.size() - 1);
  const double gamma = inside ? std::min(options_.s_churn / steps, std::numbers::sqrt2 - 1) : 0;
  if (gamma == 0) return {x_, sigma()};
  const double raised = rounded(sigma() * rounded(1 + gamma)), added = std::sqrt(raised * raised - sigma() * sigma());
  return {linear_combination({{1, x_}, {options_.s_noise * added, noise(i_)}}), raised};
}

void EdmRun::euler_step() {
  const auto [x, from] = churned();
  x_ = add_rounded(x, rounded(next() - from), slope(x, denoised(x, from), from));
}

void EdmRun::euler_ancestral_step() {
  const Ancestral a = ancestral(sigma(), next());
  x_ = add_rounded(x_, rounded(a.down - sigma()), slope(x_, denoised(x_, sigma()), sigma()));
  if (a.up > 0) x_ = linear_combination({{1, x_}, {options_.s_noise * a.up, noise(i_)}});
}

void EdmRun::heun_step() {
  const auto [x, from] = churned();
  const double distance = rounded(next() - from);
  const Tensor first = slope(x, denoised(x, from), from), x2 = add_rounded(x, distance, first);
  if (ends_at_zero()) {
    x_ = x2;
    return;
  }
  const Tensor second = slope(x2, denoised(x2, next()), next());
  x_ = add_rounded(x, distance, linear_combination({{0.5, first}, {0.5, second}}));
}

// A step along the slope at its middle; along that at its start when it ends at sigma 0.
Tensor EdmRun::through_middle(const Tensor& x, double from, double to) const {
  const Tensor first = slope(x, denoised(x, from), from);
  if (to == 0) return add_rounded(x, -from, first);
  const double between = middle(from, to);
  const Tensor x2 = add_rounded(x, rounded(between - from), first);
  return add_rounded(x, rounded(to - from), slope(x2, denoised(x2, between), between));
}

void EdmRun::dpm_2_step() {
  const auto [x, from] = churned();
  x_ = through_middle(x, from, next());
}

void EdmRun::dpm_2_ancestral_step() {
  const Ancestral a = ancestral(sigma(), next());
  x_ = through_middle(x_, sigma(), a.down);
  if (a.up > 0) x_ = linear_combination({{1, x_}, {options_.s_noise * a.up, noise(i_)}});
}

// The integral over the step of the Lagrange polynomial that is 1 at the sigma `j` steps ago and 0 at the others of the newest
// `order`. Two points of Gauss' rule are exact up to order 4.
double adams_bashforth(const std::vector<double>& sigmas, int64_t i, int64_t order, int64_t j) {
  const double from = sigmas[size_t(i)], to = sigmas[size_t(i) + 1];
  double integral = 0;
  for (const double side : {-1.0, 1.0}) {
    const double at = (from + to) / 2 + side * (to - from) / 2 / std::numbers::sqrt3;
    double product = (to - from) / 2;
    for (int64_t k = 0; k < order; ++k)
      if (k != j) product *= (at - sigmas[size_t(i - k)]) / (sigmas[size_t(i - j)] - sigmas[size_t(i - k)]);
    integral += product;
  }
  return integral;
}

void EdmRun::lms_step() {
  remember(slope(x_, denoised(x_, sigma()), sigma()), 0);
  const int64_t order = int64_t(past_.size());
  Tensor sum = zeros_like(x_);
  for (int64_t j = 0; j < order; ++j) sum = add_rounded(sum, adams_bashforth(sigmas_, i_, order, j), past_[size_t(j)]);
  x_ = linear_combination({{1, x_}, {1, sum}});
}

void EdmRun::dpmpp_2s_ancestral_step() {
  const Ancestral a = ancestral(sigma(), next());
  const Tensor d = denoised(x_, sigma());
  if (a.down == 0) {
    x_ = solution(x_, d, sigma(), 0);
    return;
  }
  const double between = std::sqrt(sigma() * a.down);
  const Tensor x2 = solution(x_, d, sigma(), between), noisy = a.up > 0 ? noise(i_) : Tensor(), d2 = denoised(x2, between);
  const double keep = a.down / sigma();
  x_ = linear_combination({{keep, x_}, {1 - keep, d2}, {options_.s_noise * a.up, noisy}});
}

// Both noises are increments of one Brownian motion over sigma: to the middle, and over the whole step.
void EdmRun::dpmpp_sde_step() {
  const Tensor d = denoised(x_, sigma());
  if (ends_at_zero()) {
    x_ = solution(x_, d, sigma(), 0);
    return;
  }
  const double t = rounded(-std::log(sigma())), t_next = rounded(-std::log(next()));
  const double from = rounded(std::exp(-t)), to = rounded(std::exp(-t_next));
  const double between = rounded(std::exp(-rounded(t + rounded(t_next - t) / 2)));
  const Ancestral half = ancestral(from, between), whole = ancestral(from, to);
  const Tensor first = half.up > 0 ? noise(2 * i_) : Tensor(), second = whole.up > 0 ? noise(2 * i_ + 1) : Tensor();
  const double keep_half = half.down / from, keep = whole.down / from;
  const Tensor x2 = linear_combination({{keep_half, x_}, {1 - keep_half, d}, {options_.s_noise * half.up, first}});
  const double scale = options_.s_noise * whole.up / std::sqrt(from - to);
  x_ = linear_combination({{keep, x_},
                           {1 - keep, denoised(x2, between)},
                           {scale * std::sqrt(from - between), first},
                           {scale * std::sqrt(between - to), second}});
}

void EdmRun::remember(const Tensor& value, double h) {
  const size_t kept = options_.solver == EdmSolver::lms ? size_t(options_.order) : 2;
  past_.insert(past_.begin(), value);
  past_h_.insert(past_h_.begin(), h);
  if (past_.size() > kept) {
    past_.pop_back();
    past_h_.pop_back();
  }
}

void EdmRun::dpmpp_2m_step() {
  const Tensor d = denoised(x_, sigma());
  const double keep = next() / sigma(), h = -std::log(keep);
  if (past_.empty() || ends_at_zero()) {
    x_ = solution(x_, d, sigma(), next());
  } else {
    const double extrapolated = (1 - keep) * h / (2 * past_h_[0]);
    x_ = linear_combination({{keep, x_}, {1 - keep + extrapolated, d}, {-extrapolated, past_[0]}});
  }
  remember(d, h);
}

// x = mean + the noise that came into a step of length h.
void EdmRun::add_noise_between(double h, const Tensor& mean) {
  const double added = options_.s_noise * next() * std::sqrt(-std::expm1(-2 * options_.eta * h));
  x_ = added > 0 ? linear_combination({{1, mean}, {added, noise(i_)}}) : mean;
}

void EdmRun::dpmpp_2m_sde_step() {
  const Tensor d = denoised(x_, sigma());
  if (ends_at_zero()) {
    x_ = d;
    return;
  }
  const double h = std::log(sigma() / next()), share = -std::expm1(-h * (1 + options_.eta));
  const bool first = past_.empty();
  const double slope = first ? 0 : share * h / (2 * past_h_[0]);
  add_noise_between(h, linear_combination({{1 - share, x_}, {share + slope, d}, {-slope, first ? Tensor() : past_[0]}}));
  remember(d, h);
}

void EdmRun::dpmpp_3m_sde_step() {
  const Tensor d = denoised(x_, sigma());
  if (ends_at_zero()) {
    x_ = d;
    return;
  }
  const double h = std::log(sigma() / next()), long_h = h * (1 + options_.eta), share = -std::expm1(-long_h);
  const double phi2 = 1 - share / long_h, phi3 = phi2 / long_h - 0.5;
  Tensor mean;
  if (past_.size() == 2) {
    const auto w = difference_factors(past_h_[0] / h, past_h_[1] / h, phi2, -phi3);
    mean = linear_combination({{1 - share, x_}, {share + w[0], d}, {w[1], past_[0]}, {w[2], past_[1]}});
  } else if (past_.size() == 1) {
    const double slope = phi2 * h / past_h_[0];
    mean = linear_combination({{1 - share, x_}, {share + slope, d}, {-slope, past_[0]}});
  } else {
    mean = linear_combination({{1 - share, x_}, {share, d}});
  }
  add_noise_between(h, mean);
  remember(d, h);
}

void check(const std::vector<double>& sigmas, const EdmOptions& options) {
  RELUME_CHECK(sigmas.size() >= 2, "EDM sampling: ", sigmas.size(), " sigmas given, at least 2 are needed");
  for (size_t i = 1; i < sigmas.size(); ++i)
    RELUME_CHECK(sigmas[i] >= 0 && sigmas[i] < sigmas[i - 1], "EDM sampling: sigma ", sigmas[i], " follows ", sigmas[i - 1],
                 "; they must fall and end at 0 or above");
  RELUME_CHECK(options.order >= 1 && options.order <= 4, "EDM sampling: order ", options.order, " is outside of 1 .. 4");
  RELUME_CHECK(options.eta >= 0 && options.s_churn >= 0 && options.s_noise >= 0,
               "EDM sampling: eta, s_churn and s_noise cannot be negative");
}

// The reference's rounding, f64 included, is that of the processor; denoiser and noise are those of the latents' device.
Tensor solved_on_cpu(const std::vector<double>& sigmas, const EdmOptions& options, const EdmDenoiser& denoiser, const Tensor& x,
                     const Sampling& sampling) {
  const Device device = x.device();
  const EdmDenoiser there = [&](const Tensor& noisy, double sigma, int64_t step) {
    return denoiser(noisy.to(device), sigma, step).to(Device{});
  };
  Sampling here;  // the hook is the denoiser's affair
  if (sampling.noise) here.noise = [&](int64_t draw) { return sampling.noise(draw).to(Device{}); };
  return EdmRun(sigmas, options, there, x.to(Device{}), here).run().to(device);
}

}  // namespace

Tensor solve_edm(const std::vector<double>& sigmas, const EdmOptions& options, const EdmDenoiser& denoiser, const Tensor& x,
                 const Sampling& sampling) {
  check(sigmas, options);
  if (options.exact_reference) return solved_on_cpu(sigmas, options, denoiser, x, sampling);
  return EdmRun(sigmas, options, denoiser, x, sampling).run();
}

}  // namespace relume
