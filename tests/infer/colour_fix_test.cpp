#include "infer/colour_fix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

// From the definition: nine taps `radius` apart, the edges repeated.
Tensor plain_blur(const Tensor& x, int64_t radius) {
  static constexpr double taps[3] = {0.25, 0.5, 0.25};
  const int64_t height = x.shape(1), width = x.shape(2), channels = x.shape(3);
  const Tensor out = Tensor::empty(x.shape(), DType::f64);
  for (int64_t n = 0; n < x.shape(0); ++n)
    for (int64_t i = 0; i < height; ++i)
      for (int64_t j = 0; j < width; ++j)
        for (int64_t c = 0; c < channels; ++c) {
          double sum = 0;
          for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) {
              const int64_t y = std::clamp<int64_t>(i + (a - 1) * radius, 0, height - 1),
                            z = std::clamp<int64_t>(j + (b - 1) * radius, 0, width - 1);
              sum += taps[a] * taps[b] * double(x.data<float>()[((n * height + y) * width + z) * channels + c]);
            }
          out.data<double>()[((n * height + i) * width + j) * channels + c] = sum;
        }
  return out;
}

TEST(WaveletBlur, AgreesWithTheDefinition) {
  for (const int64_t radius : {1, 2, 5, 16})
    for (const Shape& shape : {Shape{2, 7, 9, 3}, Shape{1, 1, 1, 3}, Shape{1, 20, 3, 1}})
      EXPECT_LE(relative_l2(wavelet_blur(uniform(shape, 1), radius), plain_blur(uniform(shape, 1), radius)), 2e-7)
          << shape << ", " << radius;
}

TEST(WaveletColourFix, TakesDetailOfOneAndColoursOfTheOther) {
  const Tensor content = uniform({2, 24, 17, 3}, 1, 0, 1), style = uniform({2, 24, 17, 3}, 2, 0, 1);
  EXPECT_LE(relative_l2(wavelet_colour_fix(content, content), content), 1e-6) << "its own colours";
  const Tensor flat = Tensor::full(content.shape(), 0.25);
  EXPECT_LE(relative_l2(wavelet_colour_fix(flat, style), wavelet_low(style)), 1e-6) << "no detail";
  Tensor low = style;
  for (const int64_t radius : {1, 2, 4, 8, 16}) low = plain_blur(low, radius).to(DType::f32);
  EXPECT_LE(relative_l2(wavelet_low(style), low), 1e-6);
  EXPECT_GT(relative_l2(wavelet_low(style, 4), low), 1e-4) << "another number of levels";
}

TEST(AdainColourFix, GivesEachChannelOfEachSampleTheStatisticsOfTheOther) {
  const Tensor content = uniform({2, 5, 7, 3}, 1, 0, 1), style = uniform({2, 5, 7, 3}, 2, -3, 1);
  const Tensor fixed = adain_colour_fix(content, style, 0);
  const auto statistics = [](const Tensor& x, int64_t n, int64_t c) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < 35; ++i) sum += x.data<float>()[(n * 35 + i) * 3 + c];
    for (int64_t i = 0; i < 35; ++i) squares += std::pow(x.data<float>()[(n * 35 + i) * 3 + c] - sum / 35, 2);
    return std::pair{sum / 35, squares / 34};
  };
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t c = 0; c < 3; ++c) {
      const auto [mean, variance] = statistics(fixed, n, c);
      const auto [wanted_mean, wanted_variance] = statistics(style, n, c);
      EXPECT_NEAR(mean, wanted_mean, 1e-6);
      EXPECT_NEAR(variance, wanted_variance, 1e-5);
    }
}

TEST(AdainColourFix, AFlatPictureGetsTheMean) {
  const Tensor style = Tensor::of<float>({1, 1, 2, 1}, {0.25f, 0.75f});
  EXPECT_LE(relative_l2(adain_colour_fix(Tensor::full({1, 1, 2, 1}, 0.1), style), Tensor::full({1, 1, 2, 1}, 0.5)), 1e-5);
}

TEST(ColourFixRefusal, PicturesThatDoNotFit) {
  const Tensor picture = uniform({1, 4, 5, 3}, 1);
  EXPECT_HAS(input_error([&] {
               wavelet_colour_fix(picture, uniform({1, 4, 4, 3}, 1));
             }),
             "wavelet_colour_fix: the colours of f32 cpu [1, 4, 4, 3] do not fit f32 cpu [1, 4, 5, 3]");
  EXPECT_HAS(input_error([&] {
               adain_colour_fix(uniform({1, 1, 1, 3}, 1), uniform({1, 1, 1, 3}, 1));
             }),
             "of two pixels or more");
  EXPECT_HAS(input_error([&] {
               wavelet_blur(uniform({4, 5, 3}, 1), 1);
             }),
             "wavelet_blur: f32 cpu [4, 5, 3] given; expected f32 [N, H, W, C]");
  EXPECT_HAS(input_error([&] { wavelet_blur(picture, 0); }), "radius 0");
  EXPECT_HAS(input_error([&] { wavelet_low(picture, 0); }), "0 levels");
}

}  // namespace
}  // namespace relume::test
