#include "models/diffusion/spaced.h"

#include <charconv>
#include <cmath>

#include "base/text.h"
#include "models/diffusion/linear_combination.h"

namespace relume {
namespace {

int64_t count_in(const std::string& text, const std::string& counts) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  RELUME_CHECK(error == std::errc() && end == text.data() + text.size() && count >= 1, "spaced sampling: '", counts,
               "' is none of '50', '10,15,20', 'ddim50'");
  return count;
}

std::vector<int64_t> evenly_strided_times(int64_t steps, int64_t count) {
  for (int64_t stride = 1; stride < steps; ++stride) {
    if ((steps + stride - 1) / stride != count) continue;
    std::vector<int64_t> times;
    for (int64_t t = 0; t < steps; t += stride) times.push_back(t);
    return times;
  }
  throw InputError(detail::concat("spaced sampling: no stride over ", steps, " times gives exactly ", count));
}

}  // namespace

std::vector<int64_t> spaced_times(int64_t steps, const std::string& counts) {
  static const std::string strided = "ddim";
  if (counts.starts_with(strided)) return evenly_strided_times(steps, count_in(counts.substr(strided.size()), counts));
  const std::vector<std::string> parts = split(counts, ',');
  const int64_t number = int64_t(parts.size());
  std::vector<int64_t> times;
  int64_t begin = 0;
  for (int64_t part = 0; part < number; ++part) {
    const int64_t length = steps / number + (part < steps % number ? 1 : 0), count = count_in(parts[size_t(part)], counts);
    RELUME_CHECK(count <= length, "spaced sampling: ", count, " of ", length, " times asked for; take fewer steps");
    const double stride = count == 1 ? 1 : double(length - 1) / double(count - 1);
    double at = 0;  // the running sum and its rounding half to even are the published rule
    for (int64_t i = 0; i < count; ++i, at += stride) times.push_back(begin + int64_t(std::nearbyint(at)));
    begin += length;
  }
  return times;
}

std::vector<SpacedStep> spaced_schedule(const NoiseSchedule& schedule, int64_t steps) {
  std::vector<SpacedStep> table;
  double before = 1;  // alpha_bar of the next latents
  for (const int64_t time : spaced_times(schedule.steps(), std::to_string(steps))) {
    const double alpha_bar = schedule.alpha_bar(time), alpha = alpha_bar / before, beta = 1 - alpha;
    table.push_back({.time = time,
                     .alpha_bar = alpha_bar,
                     .mean_x0 = posterior_x0_weight(alpha_bar, before),
                     .mean_x = (1 - before) * std::sqrt(alpha) / (1 - alpha_bar),
                     .variance = beta * (1 - before) / (1 - alpha_bar)});
    before = alpha_bar;
  }
  return table;
}

Tensor sample_spaced(const DiffusionModel& model, int64_t steps, const Tensor& x, const Sampling& sampling) {
  const std::vector<SpacedStep> table = spaced_schedule(model.schedule, steps);
  Tensor latents = x;
  for (int64_t i = 0; i < steps; ++i) {
    const SpacedStep& step = table[size_t(steps - 1 - i)];
    const SampleStep shown{.index = i, .count = steps, .time = double(step.time), .x0_weight = step.mean_x0};
    const Tensor x0 = estimate_x0(model, sampling, latents, std::sqrt(step.alpha_bar), std::sqrt(1 - step.alpha_bar), shown);
    const Tensor noise = step.variance > 0 ? noise_like(x, sampling, i) : Tensor();
    latents = linear_combination({{step.mean_x0, x0}, {step.mean_x, latents}, {std::sqrt(step.variance), noise}});
  }
  return latents;
}

}  // namespace relume
