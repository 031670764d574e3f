#include "layers/drop_path.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/numbers.h"

namespace relume::test {
namespace {

constexpr DropPathDraws draws{.seed = 5, .step = 7, .first_sample = 11};

TEST(DropPath, ScalesAreZeroOrTheInverseOfTheRate) {
  for (const double rate : {0.05, 0.3, 0.9}) {
    const Tensor scale = drop_path_scale(draws, 0, rate, 500);
    ASSERT_EQ(scale.shape(), (Shape{500}));
    for (int i = 0; i < 500; ++i) {
      const float s = scale.data<float>()[i];
      EXPECT_TRUE(s == 0 || s == float(1 / (1 - rate))) << s;
    }
  }
}

TEST(DropPath, DropsAtTheRateAndKeepsTheMean) {
  constexpr int64_t samples = 20000;
  for (const double rate : {0.01, 0.1, 0.5}) {
    const Tensor scale = drop_path_scale(draws, 3, rate, samples);
    int64_t dropped = 0;
    double sum = 0;
    for (int64_t i = 0; i < samples; ++i) dropped += scale.data<float>()[i] == 0, sum += scale.data<float>()[i];
    const double deviation = std::sqrt(rate * (1 - rate) / samples);
    EXPECT_NEAR(double(dropped) / samples, rate, 5 * deviation);
    EXPECT_NEAR(sum / samples, 1, 5 * deviation / (1 - rate));
  }
}

TEST(DropPath, ABatchIsASliceOfABiggerOne) {
  const Tensor whole = drop_path_scale(draws, 2, 0.4, 64);
  for (const uint32_t first : {0u, 1u, 16u, 63u}) {
    const DropPathDraws part{.seed = 5, .step = 7, .first_sample = 11 + first};
    EXPECT_TRUE(same_bits(drop_path_scale(part, 2, 0.4, 64 - first), whole.slice(first, 64))) << first;
  }
}

TEST(DropPath, DrawsDependOnSeedStepAndBranchOnly) {
  const Tensor drawn = drop_path_scale(draws, 2, 0.5, 256);
  EXPECT_TRUE(same_bits(drop_path_scale(draws, 2, 0.5, 256), drawn));
  EXPECT_FALSE(same_bits(drop_path_scale({.seed = 6, .step = 7, .first_sample = 11}, 2, 0.5, 256), drawn));
  EXPECT_FALSE(same_bits(drop_path_scale({.seed = 5, .step = 8, .first_sample = 11}, 2, 0.5, 256), drawn));
  EXPECT_FALSE(same_bits(drop_path_scale(draws, 3, 0.5, 256), drawn));
}

TEST(DropPath, AHigherRateDropsTheSameSamplesAndMore) {
  const Tensor low = drop_path_scale(draws, 1, 0.2, 256), high = drop_path_scale(draws, 1, 0.6, 256);
  for (int i = 0; i < 256; ++i) EXPECT_LE(high.data<float>()[i] > 0, low.data<float>()[i] > 0) << i;
}

}  // namespace
}  // namespace relume::test
