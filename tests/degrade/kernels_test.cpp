#include "degrade/kernels.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

#include "base/error.h"

namespace relume {
namespace {

double sum(const BlurKernel& k) { return std::accumulate(k.weights.begin(), k.weights.end(), 0.0); }
double at(const BlurKernel& k, int64_t y, int64_t x) { return k.weights[size_t((y + k.size / 2) * k.size + x + k.size / 2)]; }

TEST(Kernels, EveryKindSumsToOneAndIsPointSymmetric) {
  for (const BlurProfile profile : {BlurProfile::gaussian, BlurProfile::generalized, BlurProfile::plateau})
    for (const bool isotropic : {true, false})
      for (const int64_t size : {1, 3, 21, 41}) {
        const BlurKernel k = bivariate_kernel(profile, size, {2.2, 0.7, 0.6, isotropic}, 0.8);
        EXPECT_NEAR(sum(k), 1, 1e-12);
        for (size_t i = 0; i < k.weights.size(); ++i) {
          EXPECT_GE(k.weights[i], 0);
          EXPECT_NEAR(k.weights[i], k.weights[k.weights.size() - 1 - i], 1e-15);
        }
      }
  EXPECT_NEAR(sum(sinc_kernel(21, 1.3)), 1, 1e-12);
}

TEST(Kernels, FollowTheFormulas) {
  const double s = 1.7, beta = 1.4;
  const auto ratio = [](const BlurKernel& k, int64_t y, int64_t x) { return at(k, y, x) / at(k, 0, 0); };
  const double q = (4 + 9) / (s * s);
  EXPECT_NEAR(ratio(bivariate_kernel(BlurProfile::gaussian, 9, {.sigma_x = s}), 3, 2), std::exp(-q / 2), 1e-14);
  EXPECT_NEAR(ratio(bivariate_kernel(BlurProfile::generalized, 9, {.sigma_x = s}, beta), 3, 2),
              std::exp(-std::pow(q, beta) / 2), 1e-14);
  EXPECT_NEAR(ratio(bivariate_kernel(BlurProfile::plateau, 9, {.sigma_x = s}, beta), 3, 2), 1 / (1 + std::pow(q, beta)), 1e-14);
  // x runs along columns: a kernel that is long in x decays faster down the rows; a quarter turn exchanges the two.
  const BlurKernel wide = bivariate_kernel(BlurProfile::gaussian, 9, {3, 1, 0, false});
  EXPECT_NEAR(ratio(wide, 0, 2), std::exp(-0.5 * 4 / 9), 1e-14);
  EXPECT_NEAR(ratio(wide, 2, 0), std::exp(-0.5 * 4), 1e-14);
  const BlurKernel tall = bivariate_kernel(BlurProfile::gaussian, 9, {3, 1, std::numbers::pi / 2, false});
  EXPECT_NEAR(at(tall, 2, 0), at(wide, 0, 2), 1e-14);
  // Turned by +45 degrees the long axis points to x = y.
  const BlurKernel turned = bivariate_kernel(BlurProfile::gaussian, 9, {3, 1, std::numbers::pi / 4, false});
  EXPECT_GT(at(turned, 2, 2), at(turned, 2, -2));
  EXPECT_NEAR(ratio(sinc_kernel(7, 1.1), 0, 2), 2 * std::cyl_bessel_j(1, 2.2) / (2 * 1.1), 1e-12);
}

TEST(Kernels, OnlyAnIsotropicGaussianIsAProductOfLines) {
  const BlurKernel k = bivariate_kernel(BlurProfile::gaussian, 21, {.sigma_x = 2.5});
  ASSERT_EQ(k.line.size(), 21u);
  for (int64_t y = 0; y < 21; ++y)
    for (int64_t x = 0; x < 21; ++x) EXPECT_NEAR(k.line[size_t(y)] * k.line[size_t(x)], k.weights[size_t(y * 21 + x)], 1e-16);
  EXPECT_TRUE(bivariate_kernel(BlurProfile::gaussian, 21, {2, 1, 0.3, false}).line.empty());
  EXPECT_TRUE(bivariate_kernel(BlurProfile::plateau, 21, {.sigma_x = 2}).line.empty());
  EXPECT_TRUE(sinc_kernel(21, 2).line.empty());
}

TEST(Kernels, PaddingKeepsTheMiddle) {
  const BlurKernel k = bivariate_kernel(BlurProfile::gaussian, 7, {.sigma_x = 1}), p = padded(k, 11);
  EXPECT_NEAR(sum(p), 1, 1e-12);
  EXPECT_EQ(at(p, 3, -2), at(k, 3, -2));
  EXPECT_EQ(at(p, 4, 0), 0);
  EXPECT_EQ(p.line.size(), 11u);
}

TEST(Kernels, DrawsInTheOrderOfTheReference) {
  const BlurKernelOptions all{.size = 15, .kinds = blur_kernel_kinds(), .weights = {1, 1, 1, 1, 1, 1}};
  const DrawRecord record{{{"blur.kernel", "plateau_aniso"},
                           {"blur.sigma_x", 1.2},
                           {"blur.sigma_y", 2.1},
                           {"blur.theta", -0.4},
                           {"blur.beta_side", 0.7},
                           {"blur.beta", 3.0}}};
  ReplayedDraws draws(record);
  EXPECT_EQ(draw_blur_kernel(all, draws, "blur").weights,
            bivariate_kernel(BlurProfile::plateau, 15, {1.2, 2.1, -0.4, false}, 3.0).weights);
  draws.finish();
}

TEST(Kernels, NoiseMultipliesTapsAndKeepsTheSum) {
  const BlurKernelOptions noisy{.size = 9, .kinds = {"iso"}, .weights = {1}, .noise = std::array{0.75, 1.25}};
  SeededDraws draws({.seed = 1, .purpose = "kernel"});
  const BlurKernel k = draw_blur_kernel(noisy, draws, "blur");
  EXPECT_EQ(draws.record().entries.back().name, "blur.kernel_noise");
  EXPECT_NEAR(sum(k), 1, 1e-12);
  EXPECT_TRUE(k.line.empty());
  const double sigma = std::get<double>(draws.record().entries[1].value);
  const BlurKernel plain = bivariate_kernel(BlurProfile::gaussian, 9, {.sigma_x = sigma});
  const double middle = at(k, 0, 0) / at(plain, 0, 0), beside = at(k, 1, 0) / at(plain, 1, 0);
  EXPECT_NE(middle, beside);
  EXPECT_GT(middle / beside, 0.75 / 1.25);
  EXPECT_LT(middle / beside, 1.25 / 0.75);
}

TEST(Kernels, RefuseWhatCannotBe) {
  EXPECT_THROW(bivariate_kernel(BlurProfile::gaussian, 4, {}), InputError);
  EXPECT_THROW(bivariate_kernel(BlurProfile::gaussian, 5, {.sigma_x = 0}), InputError);
  EXPECT_THROW(bivariate_kernel(BlurProfile::plateau, 5, {}, NAN), InputError);
  EXPECT_THROW(sinc_kernel(5, 4), InputError);
  EXPECT_THROW(padded(sinc_kernel(5, 1), 3), InputError);
  try {
    check_blur_kernel_options({.kinds = {"anso"}, .weights = {1}});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'aniso'"), std::string::npos) << error.what();
  }
  EXPECT_THROW(check_blur_kernel_options({.kinds = {"iso", "aniso"}, .weights = {1}}), InputError);
  EXPECT_THROW(check_blur_kernel_options({.kinds = {"iso"}, .weights = {0}}), InputError);
}

}  // namespace
}  // namespace relume
