#include "data/metrics/similarity.h"

#include <cmath>

#include "data/convert.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::input_error, test::pattern;

// The golden pair of spec metrics 1.
std::pair<Tensor, Tensor> golden() {
  Tensor a = Tensor::empty({64, 96, 3}, DType::u8), b = Tensor::empty({64, 96, 3}, DType::u8);
  const auto to_u8 = [](double v) { return uint8_t(std::min(255.0, std::max(0.0, std::nearbyint(v)))); };
  int64_t sum_a = 0, sum_b = 0, i = 0;
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 96; ++x)
      for (double tint : {1.0, 0.9, 0.8}) {
        const uint8_t v = to_u8((127 + 60 * std::sin(x / 7.0) + 40 * std::cos(y / 11.0)) * tint);
        const uint8_t w = to_u8(v + 8 * std::sin(x * y / 50.0));
        a.data<uint8_t>()[i] = v;
        b.data<uint8_t>()[i++] = w;
        sum_a += v;
        sum_b += w;
      }
  EXPECT_EQ(sum_a, 2094259);
  EXPECT_EQ(sum_b, 2100406);
  return {a, b};
}

TEST(Metrics, GoldenPair) {
  const auto [a, b] = golden();
  const MetricOptions luma{.channels = MetricChannels::luma};
  EXPECT_NEAR(psnr_exact(a, b), 33.110273, 1e-6);
  EXPECT_NEAR(psnr_exact(a, b, luma), 34.432194, 1e-6);
  EXPECT_NEAR(psnr_exact(a, b, {.crop = 4}), 33.002490, 1e-6);
  EXPECT_NEAR(ssim(a, b), 0.8644303, 1e-7);
  EXPECT_NEAR(ssim(a, b, luma), 0.8816310, 1e-7);
  EXPECT_NEAR(psnr(a, b), -10 * std::log10(std::pow(10, -3.3110273) + 1e-8), 1e-6);
}

TEST(Metrics, FloatPicturesGiveTheSame) {
  const auto [a, b] = golden();
  EXPECT_NEAR(psnr(to_float(a), to_float(b)), psnr(a, b), 1e-5);
  EXPECT_NEAR(ssim(to_float(a), b), ssim(a, b), 1e-6);
}

TEST(Metrics, EqualPictures) {
  const Tensor a = pattern();
  EXPECT_DOUBLE_EQ(psnr(a, a), 80);
  EXPECT_TRUE(std::isinf(psnr_exact(a, a)));
  EXPECT_DOUBLE_EQ(ssim(a, a), 1);
}

// The definition, straight: a two-dimensional window at every position.
TEST(Metrics, SsimEqualsItsDefinition) {
  const auto [a, b] = golden();
  double weights[11][11], sum = 0, total = 0;
  for (int i = 0; i < 11; ++i)
    for (int j = 0; j < 11; ++j) sum += weights[i][j] = std::exp(-((i - 5) * (i - 5) + (j - 5) * (j - 5)) / (2 * 1.5 * 1.5));
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 54; ++y)
      for (int x = 0; x < 86; ++x) {
        double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
        for (int i = 0; i < 11; ++i)
          for (int j = 0; j < 11; ++j) {
            const double w = weights[i][j] / sum, p = test::pixel(a, y + i, x + j, c), q = test::pixel(b, y + i, x + j, c);
            ma += w * p, mb += w * q, aa += w * p * p, bb += w * q * q, ab += w * p * q;
          }
        total += (2 * ma * mb + 6.5025) * (2 * (ab - ma * mb) + 58.5225) /
                 ((ma * ma + mb * mb + 6.5025) * (aa - ma * ma + bb - mb * mb + 58.5225));
      }
  EXPECT_NEAR(ssim(a, b), total / (3 * 54 * 86), 1e-10);
}

// scikit-image's default: a 7x7 mean, variances divided by 48.
TEST(Metrics, UniformWindowEqualsItsDefinition) {
  const auto [a, b] = golden();
  double total = 0;
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 58; ++y)
      for (int x = 0; x < 90; ++x) {
        double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
        for (int i = 0; i < 7; ++i)
          for (int j = 0; j < 7; ++j) {
            const double p = test::pixel(a, y + i, x + j, c), q = test::pixel(b, y + i, x + j, c);
            ma += p / 49, mb += q / 49, aa += p * p, bb += q * q, ab += p * q;
          }
        const double va = (aa - 49 * ma * ma) / 48, vb = (bb - 49 * mb * mb) / 48, vab = (ab - 49 * ma * mb) / 48;
        total += (2 * ma * mb + 6.5025) * (2 * vab + 58.5225) / ((ma * ma + mb * mb + 6.5025) * (va + vb + 58.5225));
      }
  EXPECT_NEAR(ssim(a, b, {.ssim_window = SsimWindow::uniform}), total / (3 * 58 * 90), 1e-10);
}

TEST(Metrics, Refusals) {
  EXPECT_HAS(input_error([] { psnr(pattern(4, 4), pattern(4, 5)); }),
             "psnr: the pictures differ in size: [4, 4, 3] and [4, 5, 3]");
  EXPECT_HAS(input_error([] { ssim(pattern(10, 40), pattern(10, 40)); }),
             "ssim: needs at least 11x11 pixels inside the border, got 40x10");
  EXPECT_HAS(input_error([] { psnr(pattern(8, 8), pattern(8, 8), {.crop = 4}); }), "a border of 4 leaves nothing");
  EXPECT_HAS(input_error([] { psnr(Tensor(), pattern()); }), "undefined");
}

}  // namespace
}  // namespace relume
