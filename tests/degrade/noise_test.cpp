#include "degrade/noise.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "degrade/draws.h"

namespace relume {
namespace {

TEST(Noise, AddsTheFieldInGreyLevelsAndClamps) {
  const Tensor image = Tensor::of<float>({1, 2, 2}, {0.5f, 0.5f, 0.01f, 0.99f});
  const Tensor field = Tensor::of<float>({1, 2, 2}, {1.0f, -2.0f, -3.0f, 3.0f});
  const Tensor noisy = add_gaussian_noise(image, field, 25.5);
  const float expected[] = {0.6f, 0.3f, 0, 1};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(noisy.data<float>()[i], expected[i], 1e-6);
}

TEST(Noise, HasTheAskedSpread) {
  const Shape shape{128, 96, 3};
  const Tensor grey = Tensor::empty(shape);
  std::fill_n(grey.data<float>(), grey.numel(), 0.5f);
  SeededDraws draws({.seed = 1, .purpose = "test"});
  const Tensor noisy = add_gaussian_noise(grey, draws.normal_field(shape, "field"), 20);
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < noisy.numel(); ++i) {
    const double level = 255 * (noisy.data<float>()[i] - 0.5);
    sum += level, squares += level * level;
  }
  const double n = double(noisy.numel()), mean = sum / n;
  EXPECT_NEAR(mean, 0, 4 * 20 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n - mean * mean), 20, 4 * 20 / std::sqrt(2 * n));
}

TEST(Noise, RefusesAFieldOfAnotherShape) {
  EXPECT_THROW(add_gaussian_noise(Tensor::empty({2, 3, 3}), Tensor::empty({3, 2, 3}), 1), InputError);
}

}  // namespace
}  // namespace relume
