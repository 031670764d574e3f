// Formulas on pictures of which every device must give the same bits: a value that is rounded to a level, or a count that is
// drawn, may not depend on how a compiler contracts sums of products, so fma is explicit.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "tensor/scalar/hd.h"
#include "tensor/scalar/math.h"

namespace relume {

RELUME_HD inline float clamped_to_unit(float x) { return std::min(1.0f, std::max(0.0f, x)); }

// The 8-bit level nearest to x, half to even.
RELUME_HD inline float nearest_level(float x) { return ::nearbyintf(std::min(255.0f, std::max(0.0f, x * 255))); }

RELUME_HD inline float luma_of(const std::array<float, 3>& weight, const float* pixel) {
  return math::fma(weight[2], pixel[2], math::fma(weight[1], pixel[1], weight[0] * pixel[0]));
}

// The two pointwise parts of unsharp masking (D2.7).
RELUME_HD inline float sharpen_mask_of(float x, float blurred, float threshold) {
  return ::fabsf(x - blurred) * 255 > threshold ? 1.0f : 0.0f;
}
RELUME_HD inline float sharpen_blend_of(float x, float blurred, float soft, float weight) {
  const float sharp = clamped_to_unit(math::fma(weight, x - blurred, x));
  return math::fma(soft, sharp, (1 - soft) * x);
}

// Goes through the counts k = 0, 1, ... of a Poisson distribution. Whoever draws a count by inversion with u = (1/2 + word) /
// 2^32 gets at most k for the words below end_of_words().
struct PoissonCounts {
  double rate;
  double probability;          // P(X = k), at first e^-rate
  double up_to = probability;  // P(X <= k)
  uint32_t k = 0;
  RELUME_HD uint64_t end_of_words() const { return uint64_t(::ceil(std::min(up_to, 1.0) * 0x1p32 - 0.5)); }
  RELUME_HD void next() {
    const double ratio = rate / ++k;
    up_to = math::fma(probability, ratio, up_to);
    probability *= ratio;
  }
};
inline constexpr uint64_t all_words = uint64_t(1) << 32;
// Words of one rate stand for 204 counts at most, up to the highest rate there is, 256.
inline constexpr int most_poisson_counts = 256;

}  // namespace relume
