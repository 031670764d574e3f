#include "degrade/sharpen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/convert.h"
#include "degrade/filter.h"
#include "tests/support/pictures.h"
#include "tests/support/threads.h"

namespace relume {
namespace {

TEST(Sharpen, KernelIsTheSpecifiedOne) {
  const Tensor pulse = Tensor::zeros({101, 101, 1});
  pulse.data<float>()[50 * 101 + 50] = 1;
  const Tensor blurred = sharpen_stages(pulse).blurred;
  const float centre = blurred.data<float>()[50 * 101 + 50], end = blurred.data<float>()[50 * 101 + 75];
  EXPECT_NEAR(std::sqrt(centre), 0.0499389, 1e-7);
  EXPECT_NEAR(end / std::sqrt(centre), 0.000378321, 1e-8);
}

TEST(Sharpen, IsItsFormula) {
  const Tensor x = test::uniform({40, 55, 3}, 1, 0, 1);
  const SharpenOptions options{.size = 9, .sigma = 1.5, .weight = 0.7, .threshold = 30};
  const Sharpened s = sharpen_stages(x, options);
  const BlurKernel k = bivariate_kernel(BlurProfile::gaussian, 9, {.sigma_x = 1.5});
  const Tensor blurred = filter2d(x, Tensor::of<double>({9, 9}, k.weights)), mask = empty_like(x);
  int64_t marked = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const bool far = std::abs(x.data<float>()[i] - s.blurred.data<float>()[i]) * 255 > 30;
    mask.data<float>()[i] = far, marked += far;
    ASSERT_NEAR(s.blurred.data<float>()[i], blurred.data<float>()[i], 1e-6);
  }
  EXPECT_GT(marked, x.numel() / 10);
  EXPECT_LT(marked, x.numel() * 9 / 10);
  const Tensor soft = filter2d(mask, Tensor::of<double>({9, 9}, k.weights));
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double v = x.data<float>()[i], share = soft.data<float>()[i];
    const double sharp = std::clamp(v + 0.7 * (v - blurred.data<float>()[i]), 0.0, 1.0);
    ASSERT_NEAR(s.soft_mask.data<float>()[i], share, 1e-6);
    ASSERT_NEAR(s.pictures.data<float>()[i], share * sharp + (1 - share) * v, 3e-6);
  }
}

TEST(Sharpen, LeavesSmoothPicturesAlone) {
  const Tensor x = to_float(test::natural_picture(60, 60, 1)), y = sharpen(x, {.threshold = 255});
  for (int64_t i = 0; i < x.numel(); ++i) ASSERT_EQ(y.data<float>()[i], x.data<float>()[i]);
}

TEST(Sharpen, BatchIsItsPicturesOnAnyThreads) {
  const Tensor batch = test::uniform({2, 70, 90, 3}, 2, 0, 1), y = sharpen(batch);
  for (int64_t n = 0; n < 2; ++n) EXPECT_TRUE(test::same_bits(sharpen(batch.slice(n, n + 1)), y.slice(n, n + 1)));
  test::expect_same_on_any_threads([&] { return sharpen(batch); });
}

TEST(Sharpen, RefusesEvenKernels) {
  EXPECT_THROW(sharpen(Tensor::zeros({8, 8, 3}), {.size = 50}), InputError);
  EXPECT_THROW(sharpen(Tensor::zeros({8, 8, 3}), {.weight = std::nan("")}), InputError);
  EXPECT_THROW(sharpen(Tensor::zeros({8, 8, 3}), {.threshold = std::nan("")}), InputError);
}

}  // namespace
}  // namespace relume
