#include "degrade/simulated_jpeg.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numbers>

#include "data/convert.h"
#include "degrade/noise.h"
#include "tests/support/pictures.h"
#include "tests/support/threads.h"

namespace relume {
namespace {

constexpr int luma[64] = {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,  //
                          14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,  //
                          18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,  //
                          49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
double alpha(int u) { return u == 0 ? std::sqrt(0.5) : 1; }
double wave(int i, int u) { return std::cos((2 * i + 1) * u * std::numbers::pi / 16); }

// The luma coefficient (u, v) of one 16 x 16 picture's block (bi, bj), in double.
double luma_coefficient(const Tensor& x, int bi, int bj, int u, int v) {
  double sum = 0;
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) {
      const int y = 8 * bi + i, column = 8 * bj + j;
      const float* p = x.data<float>() + (y * x.shape(1) + column) * 3;
      const bool inside = y < x.shape(0) && column < x.shape(1);
      const double value = inside ? 255 * (0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]) : 0;
      sum += (value - 128) * wave(i, u) * wave(j, v);
    }
  return sum * alpha(u) * alpha(v) / 4;
}

TEST(SimulatedJpeg, CoefficientsAreTheDefinition) {
  const Tensor x = test::uniform({13, 21, 3}, 1, 0, 1);
  for (const bool transposed : {true, false}) {
    const JpegCoefficients c = jpeg_coefficients(x, {35}, {.transposed_luma_table = transposed});
    ASSERT_EQ(c.luma.shape(), (Shape{1, 8, 8, 8}));  // 16 x 32 pixels
    ASSERT_EQ(c.cb.shape(), (Shape{1, 2, 8, 8}));
    EXPECT_NEAR(c.factor.data<float>()[0], 5000.0 / 35 / 100, 1e-6);
    int near_ties = 0;
    for (int block = 0; block < 8; ++block)
      for (int k = 0; k < 64; ++k) {
        const int u = k / 8, v = k % 8, entry = transposed ? luma[v * 8 + u] : luma[k];
        const double quotient = luma_coefficient(x, block / 4, block % 4, u, v) / (entry * 5000.0 / 35 / 100);
        if (std::abs(quotient - std::floor(quotient) - 0.5) < 1e-4 && ++near_ties) continue;
        EXPECT_EQ(c.luma.data<float>()[block * 64 + k], std::nearbyint(quotient)) << block << " " << u << " " << v;
      }
    EXPECT_LE(near_ties, 2);
  }
}

TEST(SimulatedJpeg, KeepsWhatItNeedNotRound) {
  // A grey of which both the level and the mean of the block are multiples of the step survives; any grey does at quality 100.
  for (const double quality : {1.0, 50.0, 99.0, 100.0}) {
    const Tensor grey = Tensor::full({32, 16, 3}, 128.0 / 255), same = simulate_jpeg(grey, {quality});
    for (int64_t i = 0; i < same.numel(); ++i) ASSERT_NEAR(same.data<float>()[i], 128.0 / 255, 2e-6) << quality;
  }
  const Tensor x = to_float(test::natural_picture(48, 33, 1)), same = simulate_jpeg(x, {100});
  double luma_error = 0;
  for (int64_t i = 0; i < x.numel(); i += 3) {
    const auto y = [&](const Tensor& t) {
      const float* p = t.data<float>() + i;
      return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    };
    luma_error = std::max(luma_error, std::abs(y(x) - y(same)));
  }
  EXPECT_LT(luma_error, 1e-5);  // only chroma is averaged
}

TEST(SimulatedJpeg, LowerQualityIsFurtherAway) {
  const Tensor x = test::uniform({64, 64, 3}, 3, 0, 1);
  double before = 1e9;
  for (const double quality : {10.0, 30.0, 50.5, 80.0, 95.0}) {
    const Tensor y = simulate_jpeg(x, {quality});
    double error = 0;
    for (int64_t i = 0; i < x.numel(); ++i) error += std::pow(y.data<float>()[i] - x.data<float>()[i], 2);
    EXPECT_LT(error, before) << quality;
    before = error;
  }
}

TEST(SimulatedJpeg, StaysInRange) {
  const Tensor y = simulate_jpeg(test::uniform({31, 50, 3}, 4, 0, 1), {5});
  for (int64_t i = 0; i < y.numel(); ++i) ASSERT_TRUE(y.data<float>()[i] >= 0 && y.data<float>()[i] <= 1);
}

TEST(SimulatedJpeg, ClampsWhatItGets) {
  const Tensor wild = test::uniform({20, 20, 3}, 9, -1, 2), tame = clamp_to_unit(wild);
  EXPECT_TRUE(test::same_bits(simulate_jpeg(wild, {60}), simulate_jpeg(tame, {60})));
  const Tensor dx = simulate_jpeg_gradient(test::uniform({20, 20, 3}, 10), wild, {60}, {.differentiable = true});
  for (int64_t i = 0; i < wild.numel(); ++i) {
    const bool outside = wild.data<float>()[i] < 0 || wild.data<float>()[i] > 1;
    ASSERT_EQ(outside ? dx.data<float>()[i] : 0, 0) << i;
  }
}

// Where no rounding and no clamping changes between the two sides of a difference, and both are smooth in between.
TEST(SimulatedJpeg, GradientIsThatOfTheDifferences) {
  const Tensor x = to_float(test::natural_picture(20, 27, 1)), dy = test::uniform({20, 27, 3}, 5, 0, 1);
  const std::vector<double> quality{70};
  const SimulatedJpegOptions options{.differentiable = true};
  const Tensor dx = simulate_jpeg_gradient(dy, x, quality, options);
  const auto loss = [&](const Tensor& at) {
    const Tensor y = simulate_jpeg(at, quality, options);
    double sum = 0;
    for (int64_t i = 0; i < y.numel(); ++i) sum += double(y.data<float>()[i]) * dy.data<float>()[i];
    return sum;
  };
  int checked = 0, wrong = 0;
  for (int64_t i = 0; i < x.numel(); i += 37) {
    const auto slope = [&](float h) {
      const Tensor up = x.clone(), down = x.clone();
      up.data<float>()[i] += h, down.data<float>()[i] -= h;
      return (loss(up) - loss(down)) / (double(up.data<float>()[i]) - down.data<float>()[i]);
    };
    const double fine = slope(1e-3f), coarse = slope(2e-3f);
    if (std::abs(fine - coarse) > 0.02) continue;  // a kink, or too curved to judge
    ++checked;
    wrong += std::abs(dx.data<float>()[i] - (4 * fine - coarse) / 3) > 0.02;
  }
  EXPECT_GE(checked, 20);
  EXPECT_EQ(wrong, 0);
}

TEST(SimulatedJpeg, BatchIsItsPictures) {
  const Tensor batch = test::uniform({3, 37, 52, 3}, 6, 0, 1), dy = test::uniform({3, 37, 52, 3}, 7, 0, 1);
  const std::vector<double> quality{35, 62.5, 91};
  const SimulatedJpegOptions options{.differentiable = true};
  const Tensor y = simulate_jpeg(batch, quality), dx = simulate_jpeg_gradient(dy, batch, quality, options);
  for (int64_t n = 0; n < 3; ++n) {
    EXPECT_TRUE(test::same_bits(simulate_jpeg(batch.slice(n, n + 1), {quality[size_t(n)]}), y.slice(n, n + 1)));
    EXPECT_TRUE(test::same_bits(
        simulate_jpeg_gradient(dy.slice(n, n + 1), batch.slice(n, n + 1), {quality[size_t(n)]}, options), dx.slice(n, n + 1)));
  }
}

TEST(SimulatedJpeg, ThreadsDoNotMatter) {
  const Tensor x = test::uniform({2, 130, 300, 3}, 8, 0, 1);
  test::expect_same_on_any_threads([&] { return simulate_jpeg(x, {40, 75}); });
  test::expect_same_on_any_threads([&] { return simulate_jpeg_gradient(x, x, {40, 75}, {.differentiable = true}); });
}

TEST(SimulatedJpeg, RefusesWhatItCannotDo) {
  const Tensor x = Tensor::zeros({16, 16, 3});
  EXPECT_THROW(simulate_jpeg(Tensor::zeros({16, 16, 1}), {50}), InputError);
  EXPECT_THROW(simulate_jpeg(x, {50, 50}), InputError);
  EXPECT_THROW(simulate_jpeg(x, {0.5}), InputError);
  EXPECT_THROW(simulate_jpeg(x, {std::nan("")}), InputError);
  EXPECT_THROW(simulate_jpeg_gradient(x, x, {50}, {}), InputError);
  EXPECT_THROW(simulate_jpeg_gradient(Tensor::zeros({16, 17, 3}), x, {50}, {.differentiable = true}), InputError);
  EXPECT_THROW(jpeg_coefficients(x, {100}), InputError);
}

}  // namespace
}  // namespace relume
