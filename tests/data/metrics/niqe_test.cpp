#include "data/metrics/niqe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "data/metrics/niqe_model.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::input_error;

// Waves in whole numbers, so that every program makes the same picture.
Tensor formula(int64_t height, int64_t width) {
  Tensor t = Tensor::empty({height, width, 3}, DType::u8);
  uint8_t* p = t.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t wave = (x * x / 16 + 3 * y + 40 * c) % 256, grain = (x * 7919 + y * 104729 + x * y * (c + 31)) % 23;
        *p++ = uint8_t(std::abs(wave - 128) + 40 + grain);
      }
  return t;
}

TEST(Niqe, TheModelIsTheShippedOne) {
  EXPECT_NEAR(std::accumulate(niqe_pristine_mean.begin(), niqe_pristine_mean.end(), 0.0), 17.3287655, 1e-7);
  double sum = 0;
  auto next = niqe_pristine_covariance.begin();
  for (int i = 0; i < niqe_features; ++i)
    for (int j = i; j < niqe_features; ++j) sum += *next++ * (i == j ? 1 : 2);
  EXPECT_NEAR(sum, 13.2768073, 1e-7);
}

// Computed by a program of its own that follows spec metrics 4 step by step in NumPy and PyTorch.
TEST(Niqe, KnownValues) {
  const Tensor image = formula(200, 300);
  EXPECT_NEAR(niqe(image).value(), 19.00288, 1e-3);
  EXPECT_NEAR(niqe(image, {.crop = 4}).value(), 18.484957, 1e-3);
  EXPECT_NEAR(niqe(image, {.channel = NiqeChannel::grey}).value(), 18.796509, 0.06);
}

TEST(Niqe, TheChannelIsRoundedStudioLuma) {
  const Tensor image = Tensor::of<uint8_t>({1, 3, 3}, {0, 0, 0, 255, 255, 255, 10, 200, 30});
  const Tensor y = niqe_channel(image, NiqeChannel::luma), grey = niqe_channel(image, NiqeChannel::grey);
  EXPECT_EQ(y.data<float>()[0], 16);
  EXPECT_EQ(y.data<float>()[1], 235);
  EXPECT_EQ(y.data<float>()[2], 122);  // 16 + 65.481 10/255 + 128.553 200/255 + 24.966 30/255 = 122.33
  EXPECT_EQ(grey.data<float>()[2], 124);
}

TEST(Niqe, FlatAndSmallPicturesHaveNoScore) {
  EXPECT_FALSE(niqe(formula(95, 400))) << "no block";
  EXPECT_FALSE(niqe(formula(100, 190))) << "one block";
  EXPECT_FALSE(niqe(formula(1, 1)));
  EXPECT_FALSE(niqe(formula(200, 200), {.crop = 60}));
  Tensor flat = Tensor::empty({200, 300, 3}, DType::u8);
  std::fill_n(flat.data<uint8_t>(), flat.numel(), uint8_t(97));
  EXPECT_FALSE(niqe(flat));
  // One block that is not flat, five that are.
  const Tensor corner = formula(80, 80);
  for (int64_t y = 0; y < 80; ++y) std::copy_n(corner.data<uint8_t>() + y * 240, 240, flat.data<uint8_t>() + y * 900);
  EXPECT_FALSE(niqe(flat));
}

TEST(Niqe, FlatBlocksAreLeftOut) {
  Tensor image = formula(192, 480);
  for (int64_t y = 0; y < 192; ++y) std::fill_n(image.data<uint8_t>() + (y * 480 + 288) * 3, 192 * 3, uint8_t(80));
  const std::optional<double> score = niqe(image);
  ASSERT_TRUE(score);
  EXPECT_TRUE(std::isfinite(*score));
}

TEST(Niqe, Refusals) {
  EXPECT_HAS(input_error([] { niqe(Tensor::empty({200, 200, 1}, DType::u8)); }), "niqe: expects a picture, u8 cpu [H, W, 3]");
  EXPECT_HAS(input_error([] { niqe(formula(4, 4), {.crop = -1}); }), "a border of -1");
}

}  // namespace
}  // namespace relume
