#include "cli/demo_filter.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "degrade/filter.h"

namespace relume {
namespace {

constexpr double lowest = 0.2, highest = 5;
constexpr int grid_steps = 32;  // sigma grows by 11 % from one point to the next

std::vector<double> gaussian_line(double sigma) {
  const int radius = int(std::ceil(4 * sigma));  // what lies outside weighs less than 1e-4
  std::vector<double> line;
  double sum = 0;
  for (int i = -radius; i <= radius; ++i) sum += line.emplace_back(std::exp(-0.5 * i * i / (sigma * sigma)));
  for (double& weight : line) weight /= sum;
  return line;
}

Tensor filter_to_8_bit(const Tensor& degraded, double sigma) {
  const std::vector<double> line = gaussian_line(sigma);
  const Tensor smooth = filter_separable(degraded, line, line);
  const Tensor out = Tensor::empty(degraded.shape(), DType::u8);
  const float* from = smooth.data<float>();
  std::transform(from, from + smooth.numel(), out.data<uint8_t>(),
                 [](float v) { return uint8_t(std::lrint(std::clamp(v, 0.0f, 1.0f) * 255.0f)); });
  return out;
}

double squared_error(const Tensor& truth, const Tensor& result) {
  const float* t = truth.data<float>();
  const uint8_t* r = result.data<uint8_t>();
  double sum = 0;
  for (int64_t i = 0; i < truth.numel(); ++i) {
    const double difference = double(t[i]) * 255 - r[i];
    sum += difference * difference;
  }
  return sum;
}

// Rounding to 8 bit makes the error a little rough, so the search ends where sigma is known to one part in a thousand.
template <class Error> double golden_section(double low, double high, const Error& error) {
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double a = high - ratio * (high - low), b = low + ratio * (high - low), at_a = error(a), at_b = error(b);
  while (high - low > 1e-3 * low) {
    if (at_a <= at_b) {
      high = b, b = a, at_b = at_a;
      at_a = error(a = high - ratio * (high - low));
    } else {
      low = a, a = b, at_a = at_b;
      at_b = error(b = low + ratio * (high - low));
    }
  }
  return at_a <= at_b ? a : b;
}

}  // namespace

double best_gaussian_sigma(const Tensor& truth, const Tensor& degraded, Tensor* filtered) {
  RELUME_CHECK(truth.shape() == degraded.shape() && truth.rank() == 3, "best Gaussian filter: the truth is ", truth,
               ", the degraded picture ", degraded, "; expected two pictures [H, W, C] of one size");
  const Tensor reference = truth.contiguous(), input = degraded.contiguous();
  const auto error = [&](double sigma) { return squared_error(reference, filter_to_8_bit(input, sigma)); };
  const auto grid = [](int step) {
    return lowest * std::pow(highest / lowest, std::clamp(step, 0, grid_steps) / double(grid_steps));
  };

  int best = 0;
  double least = error(grid(0));
  for (int step = 1; step <= grid_steps; ++step)
    if (const double e = error(grid(step)); e < least) best = step, least = e;
  double sigma = golden_section(grid(best - 1), grid(best + 1), error);
  if (error(sigma) > least) sigma = grid(best);
  if (filtered) *filtered = filter_to_8_bit(input, sigma);
  return sigma;
}

}  // namespace relume
