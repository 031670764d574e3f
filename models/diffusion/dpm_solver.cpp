#include "models/diffusion/dpm_solver.h"

#include <algorithm>
#include <cmath>

#include "models/diffusion/linear_combination.h"

namespace relume {
namespace {

constexpr double smallest_lambda = -5.1;
constexpr int64_t steps_for_full_order = 10;  // with fewer, the last steps of multistep solvers have lower orders

struct Point {
  double t = 0, alpha = 0, sigma = 0, lambda = 0;
};
Point point_at(const DpmTime& time, double t) {
  const double log_alpha = time.log_alpha(t), variance = -std::expm1(2 * log_alpha);
  return {t, std::exp(log_alpha), std::sqrt(variance), log_alpha - std::log(variance) / 2};
}

// x(end) = linear x(start) - scale psi1 m + sign scale psi2 D1 - scale psi3 D2, for the model m and its differences.
struct Factors {
  Factors(const Point& start, const Point& end, bool data)
      : h(end.lambda - start.lambda),
        sign(data ? 1 : -1),
        linear(data ? end.sigma / start.sigma : end.alpha / start.alpha),
        scale(data ? end.alpha : end.sigma),
        psi1(std::expm1(-sign * h)),
        psi2(psi1 / h + sign),
        psi3(psi2 / h - 0.5) {}
  double h, sign, linear, scale, psi1, psi2, psi3;
};

class DpmRun {
 public:
  DpmRun(const DiffusionModel& model, const DpmOptions& options, int64_t calls, const Sampling& sampling)
      : model_(model), sampling_(sampling), options_(options), time_(model.schedule), calls_(calls) {}

  Tensor multistep(Tensor x);
  Tensor singlestep(Tensor x);

 private:
  double border(int64_t i) const { return 1 + double(i) * (time_.last() - 1) / double(calls_); }
  Tensor evaluate(const Tensor& x, const Point& at, const Point& end);
  Tensor multistep_update(const Tensor& x, const Point& end, int64_t order) const;
  Tensor singlestep_update(const Tensor& x, const std::vector<Point>& points);
  Tensor second_order(const Tensor& x, const std::vector<Point>& points);
  Tensor third_order(const Tensor& x, const std::vector<Point>& points);

  const DiffusionModel& model_;
  const Sampling& sampling_;
  const DpmOptions options_;
  const DpmTime time_;
  const int64_t calls_;
  int64_t called_ = 0;
  std::vector<Tensor> values_;  // multistep: what the model gave at points_, the newest last
  std::vector<Point> points_;
};

// m for latents x at `at`, of a step that ends at `end`.
Tensor DpmRun::evaluate(const Tensor& x, const Point& at, const Point& end) {
  const SampleStep shown{.index = called_++,
                         .count = calls_,
                         .time = time_.network_time(at.t),
                         .x0_weight = posterior_x0_weight(at.alpha * at.alpha, end.alpha * end.alpha)};
  const Tensor x0 = estimate_x0(model_, sampling_, x, at.alpha, at.sigma, shown);
  return options_.predicts_data ? x0 : linear_combination({{1 / at.sigma, x}, {-at.alpha / at.sigma, x0}});
}

Tensor DpmRun::multistep(Tensor x) {
  for (int64_t i = 1; i <= calls_; ++i) {
    const Point start = point_at(time_, border(i - 1)), end = point_at(time_, border(i));
    values_.push_back(evaluate(x, start, end));
    points_.push_back(start);
    if (int64_t(values_.size()) > options_.order) {
      values_.erase(values_.begin());
      points_.erase(points_.begin());
    }
    const int64_t left = calls_ + 1 - i, known = int64_t(values_.size());
    x = multistep_update(x, end, calls_ < steps_for_full_order ? std::min(known, left) : known);
  }
  return x;
}

Tensor DpmRun::multistep_update(const Tensor& x, const Point& end, int64_t order) const {
  const size_t newest = values_.size() - 1;
  const Factors f(points_[newest], end, options_.predicts_data);
  const auto past_step = [&](size_t i) { return (points_[newest - i].lambda - points_[newest - i - 1].lambda) / f.h; };
  const Tensor& m0 = values_[newest];
  if (order == 1) return linear_combination({{f.linear, x}, {-f.scale * f.psi1, m0}});
  const Tensor& m1 = values_[newest - 1];
  if (order == 2) {
    const double slope = f.scale * f.psi1 / (2 * past_step(0));
    return linear_combination({{f.linear, x}, {-f.scale * f.psi1 - slope, m0}, {slope, m1}});
  }
  const auto w = difference_factors(past_step(0), past_step(1), f.sign * f.scale * f.psi2, -f.scale * f.psi3);
  return linear_combination({{f.linear, x}, {w[0] - f.scale * f.psi1, m0}, {w[1], m1}, {w[2], values_[newest - 2]}});
}

// The orders of the steps that make `calls` calls in all.
std::vector<int64_t> singlestep_orders(int64_t calls, int64_t order) {
  std::vector<int64_t> orders(size_t(calls / order), order);
  if (order == 3 && calls % order == 0) {
    orders.back() = 2;
    orders.push_back(1);
  } else if (calls % order > 0) {
    orders.push_back(calls % order);
  }
  return orders;
}

Tensor DpmRun::singlestep(Tensor x) {
  int64_t done = 0;
  for (const int64_t order : singlestep_orders(calls_, options_.order)) {
    const double start = border(done), end = border(done + order);
    std::vector<Point> points;
    for (int64_t i = 0; i <= order; ++i) points.push_back(point_at(time_, start + double(i) * (end - start) / double(order)));
    x = singlestep_update(x, points);
    done += order;
  }
  return x;
}

// From the first of the points to the last; those between are evaluated.
Tensor DpmRun::singlestep_update(const Tensor& x, const std::vector<Point>& points) {
  if (points.size() == 3) return second_order(x, points);
  if (points.size() == 4) return third_order(x, points);
  const Factors f(points.front(), points.back(), options_.predicts_data);
  return linear_combination({{f.linear, x}, {-f.scale * f.psi1, evaluate(x, points.front(), points.back())}});
}

Tensor DpmRun::second_order(const Tensor& x, const std::vector<Point>& points) {
  const Point &start = points[0], &middle = points[1], &end = points[2];
  const Factors f(start, end, options_.predicts_data), f1(start, middle, options_.predicts_data);
  const Tensor m = evaluate(x, start, end);
  const Tensor x1 = linear_combination({{f1.linear, x}, {-f1.scale * f1.psi1, m}});
  const double slope = f.scale * f.psi1 * f.h / (2 * f1.h);
  return linear_combination({{f.linear, x}, {slope - f.scale * f.psi1, m}, {-slope, evaluate(x1, middle, end)}});
}

Tensor DpmRun::third_order(const Tensor& x, const std::vector<Point>& points) {
  const Point &start = points[0], &end = points[3];
  const bool data = options_.predicts_data;
  const Factors f(start, end, data), f1(start, points[1], data), f2(start, points[2], data);
  const Tensor m = evaluate(x, start, end);
  const Tensor x1 = linear_combination({{f1.linear, x}, {-f1.scale * f1.psi1, m}});
  const Tensor m1 = evaluate(x1, points[1], end);
  const double slope2 = f.sign * f2.h / f1.h * f2.scale * f2.psi2;
  const Tensor x2 = linear_combination({{f2.linear, x}, {-f2.scale * f2.psi1 - slope2, m}, {slope2, m1}});
  const Tensor m2 = evaluate(x2, points[2], end);
  const double slope = f.sign * f.scale * f.psi2 * f.h / f2.h;
  return linear_combination({{f.linear, x}, {-f.scale * f.psi1 - slope, m}, {slope, m2}});
}

}  // namespace

DpmOptions dpm_options(const std::string& name) {
  for (const bool data : {true, false})
    for (const bool multistep : {true, false})
      for (const int order : {1, 2, 3})
        if (name == (data ? "dpm++_" : "dpm_") + std::string(multistep ? "m" : "s") + std::to_string(order))
          return {.predicts_data = data, .multistep = multistep, .order = order};
  throw InputError(detail::concat("DPM-Solver: unknown form '", name,
                                  "'; they are dpm++_m1 to m3, dpm++_s1 to s3, and the same "
                                  "without ++"));
}

DpmTime::DpmTime(const NoiseSchedule& schedule) {
  for (const double alpha_bar : schedule.alpha_bars()) {
    if (std::log(alpha_bar / (1 - alpha_bar)) / 2 < smallest_lambda) break;  // lambda falls with t
    log_alphas_.push_back(std::log(alpha_bar) / 2);
  }
  RELUME_CHECK(log_alphas_.size() >= 2, "DPM-Solver: the noise schedule begins with next to nothing of the picture");
}

double DpmTime::log_alpha(double t) const {
  const double at = t * double(log_alphas_.size()) - 1;  // in values
  const size_t left = size_t(std::clamp(std::floor(at), 0.0, double(log_alphas_.size() - 2)));
  return log_alphas_[left] + (at - double(left)) * (log_alphas_[left + 1] - log_alphas_[left]);
}

Tensor sample_dpm(const DiffusionModel& model, int64_t steps, const DpmOptions& options, const Tensor& x,
                  const Sampling& sampling) {
  RELUME_CHECK(steps >= 1, "DPM-Solver: ", steps, " steps asked for, at least 1 is needed");
  RELUME_CHECK(options.order >= 1 && options.order <= 3, "DPM-Solver: order ", options.order, " is none of 1, 2, 3");
  DpmRun run(model, options, steps, sampling);
  return options.multistep ? run.multistep(x) : run.singlestep(x);
}

}  // namespace relume
