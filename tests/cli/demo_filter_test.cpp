#include "cli/demo_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "data/metrics/similarity.h"
#include "degrade/filter.h"
#include "tensor/core/philox.h"

namespace relume {
namespace {

// Smooth waves with noise of the given strength: [48, 64, 3].
Tensor waves(double noise) {
  const Tensor t = Tensor::empty(Shape{48, 64, 3});
  RandomStream random({.seed = 7, .purpose = "demo_filter_test"});
  float* p = t.data<float>();
  for (int64_t y = 0; y < 48; ++y)
    for (int64_t x = 0; x < 64; ++x)
      for (int64_t c = 0; c < 3; ++c)
        *p++ = float(std::clamp(
            0.5 + 0.3 * std::sin(0.35 * double(x) + double(c)) * std::cos(0.25 * double(y)) + noise * random.normal(), 0.0,
            1.0));
  return t;
}

TEST(BestGaussianFilter, IsAtLeastAsGoodAsEveryOtherWidth) {
  const Tensor truth = waves(0), degraded = waves(0.1);
  Tensor filtered;
  const double sigma = best_gaussian_sigma(truth, degraded, &filtered);
  EXPECT_GT(sigma, 0.5);
  EXPECT_LT(sigma, 4.5);
  ASSERT_EQ(filtered.dtype(), DType::u8);
  ASSERT_EQ(filtered.shape(), truth.shape());
  const auto score = [&](const Tensor& image) {
    const Tensor shown = Tensor::empty(image.shape());
    for (int64_t i = 0; i < image.numel(); ++i)
      shown.data<float>()[i] = float(std::lrint(std::clamp(image.data<float>()[i], 0.0f, 1.0f) * 255) / 255.0);
    return psnr(truth, shown);
  };
  const Tensor ours = Tensor::empty(filtered.shape());
  for (int64_t i = 0; i < ours.numel(); ++i) ours.data<float>()[i] = float(filtered.data<uint8_t>()[i] / 255.0);
  const double best = psnr(truth, ours);
  EXPECT_GT(best, score(degraded) + 5);
  for (double other = 0.2; other <= 5; other *= 1.07) {
    std::vector<double> line;
    double sum = 0;
    for (int i = -25; i <= 25; ++i) sum += line.emplace_back(std::exp(-0.5 * i * i / (other * other)));
    for (double& w : line) w /= sum;
    EXPECT_GE(best, score(filter_separable(degraded, line, line)) - 0.002) << "sigma " << other;
  }
}

TEST(BestGaussianFilter, LeavesACleanPictureAlone) {
  const Tensor truth = waves(0);
  Tensor filtered;
  EXPECT_LT(best_gaussian_sigma(truth, truth, &filtered), 0.35);
  for (int64_t i = 0; i < truth.numel(); ++i)
    EXPECT_NEAR(filtered.data<uint8_t>()[i] / 255.0, truth.data<float>()[i], 0.51 / 255);
}

TEST(BestGaussianFilter, RefusesDifferentSizes) {
  EXPECT_THROW(best_gaussian_sigma(waves(0), Tensor::empty(Shape{48, 63, 3}), nullptr), InputError);
}

}  // namespace
}  // namespace relume
