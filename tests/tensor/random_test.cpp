// Random fills against the plain Philox of tensor/core/philox.h, and their statistics.
#include "tensor/kernels/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace relume {
namespace {

const RandomKey some_key{.seed = 7, .purpose = "test", .step = 3, .sample = 11};

uint32_t word(const RandomKey& key, int64_t i) { return philox4x32(key.counter(uint64_t(i) / 4), key.key())[size_t(i % 4)]; }

// The values that Salmon et al. publish with their code (Random123, kat_vectors).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (std::array<uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (std::array<uint32_t, 4>{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(FillUniform, TakesWordsInOrder) {
  for (const int64_t n : {1, 3, 63, 64, 65, 100003}) {
    const Tensor x = Tensor::empty({n}), wide = Tensor::empty({n}, DType::f64);
    kernels::fill_uniform.on({})(x, 0, 1, some_key);
    kernels::fill_uniform.on({})(wide, -2, 6, some_key);
    for (int64_t i = 0; i < n; ++i) {
      const float u = philox_uniform(word(some_key, i));
      ASSERT_EQ(x.data<float>()[i], u) << i << " of " << n;
      ASSERT_EQ(wide.data<double>()[i], -2 + 8.0 * double(u)) << i << " of " << n;
    }
  }
}

TEST(FillNormal, IsBoxMullerOfPairsOfWords) {
  const int64_t n = 100003;
  const Tensor x = Tensor::empty({n}), wide = Tensor::empty({n}, DType::f64), scaled = Tensor::empty({n});
  kernels::fill_normal.on({})(x, 0, 1, some_key);
  kernels::fill_normal.on({})(wide, 0, 1, some_key);
  kernels::fill_normal.on({})(scaled, 5, 0.02, some_key);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t first = i / 2 * 2;
    const double radius = std::sqrt(-2 * std::log(1 - double(philox_uniform(word(some_key, first)))));
    const double angle = 2 * std::numbers::pi * double(philox_uniform(word(some_key, first + 1)));
    const double z = radius * (i % 2 ? std::sin(angle) : std::cos(angle));
    ASSERT_NEAR(wide.data<double>()[i], z, 1e-14 * (1 + radius)) << i;
    ASSERT_NEAR(x.data<float>()[i], z, 2e-7 * std::abs(z) + 1e-14) << i;
    ASSERT_NEAR(scaled.data<float>()[i], 5 + 0.02 * z, 5e-7) << i;
  }
}

TEST(FillNormal, HasTheMomentsAndTailsOfANormal) {
  const int64_t n = 4000000;
  const Tensor x = Tensor::empty({n});
  kernels::fill_normal.on({})(x, 0, 1, {.seed = 1, .purpose = "moments"});
  double sum = 0, square = 0, fourth = 0, neighbours = 0;
  int64_t beyond_one = 0, beyond_three = 0;
  const float* z = x.data<float>();
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_TRUE(std::isfinite(z[i]));
    const double v = z[i];
    sum += v, square += v * v, fourth += v * v * v * v;
    neighbours += i ? v * double(z[i - 1]) : 0;
    beyond_one += std::abs(v) > 1, beyond_three += std::abs(v) > 3;
  }
  const double sigma = 1 / std::sqrt(double(n));  // five of them: one run in two million fails by chance, and the key is fixed
  EXPECT_NEAR(sum / n, 0, 5 * sigma);
  EXPECT_NEAR(square / n, 1, 5 * sigma * std::sqrt(2.0));
  EXPECT_NEAR(fourth / n, 3, 5 * sigma * std::sqrt(96.0));
  EXPECT_NEAR(neighbours / n, 0, 5 * sigma);
  EXPECT_NEAR(double(beyond_one) / n, std::erfc(1 / std::numbers::sqrt2), 5 * sigma * 0.47);
  EXPECT_NEAR(double(beyond_three) / n, std::erfc(3 / std::numbers::sqrt2), 5 * sigma * 0.052);
}

TEST(FillNormal, KeysNameDifferentStreams) {
  const auto first = [](const RandomKey& key) {
    const Tensor x = Tensor::empty({8});
    kernels::fill_normal.on({})(x, 0, 1, key);
    return std::vector<float>(x.data<float>(), x.data<float>() + 8);
  };
  EXPECT_EQ(first(some_key), first(some_key));
  for (const RandomKey& other :
       {RandomKey{8, "test", 3, 11}, RandomKey{7, "text", 3, 11}, RandomKey{7, "test", 4, 11}, RandomKey{7, "test", 3, 12}})
    EXPECT_NE(first(some_key), first(other));
}

}  // namespace
}  // namespace relume
