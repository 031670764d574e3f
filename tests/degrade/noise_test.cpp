#include "degrade/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tensor/kernels/random.h"
#include "tests/support/threads.h"

namespace relume {
namespace {

NoiseFields seeded(uint64_t colour, uint64_t plane = 0) { return {.colour = FieldSeed{colour}, .plane = FieldSeed{plane}}; }
NoiseFields given(const Tensor& colour, const Tensor& plane = {}) { return {.colour = colour, .plane = plane}; }

TEST(GaussianNoise, AddsTheFieldInGreyLevelsAndClamps) {
  const Tensor image = Tensor::of<float>({1, 2, 2}, {0.5f, 0.5f, 0.01f, 0.99f});
  const Tensor field = Tensor::of<float>({1, 2, 2}, {1.0f, -2.0f, -3.0f, 3.0f});
  const auto expect = [&](NoiseRange range, std::vector<double> expected) {
    const Tensor noisy = add_gaussian_noise(image, {25.5}, {false}, given(field), {.range = range});
    for (int i = 0; i < 4; ++i) EXPECT_NEAR(noisy.data<float>()[i], expected[size_t(i)], 1e-6);
  };
  expect(NoiseRange::clipped, {0.6, 0.3, 0, 1});
  expect(NoiseRange::open, {0.6, 0.3, 0.01 - 0.3, 0.99 + 0.3});
  expect(NoiseRange::levels, {153 / 255.0, std::nearbyint(0.3 * 255) / 255, 0, 1});
}

TEST(GaussianNoise, FieldIsTheFillOfItsKey) {
  const Tensor image = Tensor::full({2, 20, 30, 3}, 0.5), field = Tensor::empty({20, 30, 3});
  const Tensor noisy = add_gaussian_noise(image, {10, 20}, {false, false}, seeded(5), {.range = NoiseRange::open});
  for (uint32_t n = 0; n < 2; ++n) {
    RandomKey key = field_key({5});
    key.sample = n;
    kernels::fill_normal.on({})(field, 0, 1, key);
    for (int64_t i = 0; i < field.numel(); ++i)
      ASSERT_NEAR(noisy.data<float>()[n * field.numel() + i], 0.5 + field.data<float>()[i] * 10 * (n + 1) / 255, 1e-6);
  }
}

TEST(GaussianNoise, GreyIsOnePlane) {
  const Tensor image = Tensor::full({3, 20, 30, 3}, 0.5);
  NoiseFields fields = seeded(5, 6);
  const std::vector<bool> grey{true, false, true};
  const auto value = [](const Tensor& t, int64_t n, int64_t i, int64_t c) { return t.data<float>()[(n * 600 + i) * 3 + c]; };
  const auto planes_are_equal = [&](const Tensor& t) {
    int64_t equal = 0;
    for (int64_t i = 0; i < 600; ++i) equal += value(t, 0, i, 0) == value(t, 2, i, 0);
    return equal == 600;
  };
  const Tensor own = add_gaussian_noise(image, {10, 10, 10}, grey, fields);
  for (int64_t i = 0; i < 600; ++i) {
    ASSERT_EQ(value(own, 0, i, 0), value(own, 0, i, 2));
    ASSERT_NE(value(own, 1, i, 0), value(own, 1, i, 2));
  }
  EXPECT_FALSE(planes_are_equal(own));
  fields.shared_plane = true;
  EXPECT_TRUE(planes_are_equal(add_gaussian_noise(image, {10, 10, 10}, grey, fields)));
}

TEST(GaussianNoise, HasTheAskedSpread) {
  const Tensor grey = Tensor::full({128, 96, 3}, 0.5), noisy = add_gaussian_noise(grey, {20}, {false}, seeded(1));
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < noisy.numel(); ++i) {
    const double level = 255 * (noisy.data<float>()[i] - 0.5);
    sum += level, squares += level * level;
  }
  const double n = double(noisy.numel()), mean = sum / n;
  EXPECT_NEAR(mean, 0, 4 * 20 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n - mean * mean), 20, 4 * 20 / std::sqrt(2 * n));
}

// A picture of which every level in `levels` fills an equal share.
Tensor of_levels(const std::vector<int>& levels, int64_t each) {
  const Tensor x = Tensor::empty({int64_t(levels.size()), each, 1});
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = float(levels[size_t(i / each)]) / 255;
  return x;
}

// The counts that were drawn, from noise of factor 1 without clamping.
double count_at(const Tensor& noisy, const Tensor& x, int64_t i, double values) {
  const double level = std::nearbyint(255 * x.data<float>()[i]) / 255;
  return (double(noisy.data<float>()[i]) - x.data<float>()[i] + level) * values;
}

TEST(PoissonNoise, IsAPoissonDistribution) {
  const std::vector<int> levels{0, 1, 2, 40, 127, 200, 255};  // eight values per unit
  constexpr int64_t each = 200000;
  const Tensor x = of_levels(levels, each);
  const Tensor noisy = add_poisson_noise(x, {1}, {false}, seeded(3), {.range = NoiseRange::open});
  for (size_t l = 0; l < levels.size(); ++l) {
    const double rate = 8.0 * levels[l] / 255;
    double sum = 0, squares = 0;
    std::map<int64_t, double> histogram;
    for (int64_t i = int64_t(l) * each; i < int64_t(l + 1) * each; ++i) {
      const double count = count_at(noisy, x, i, 8);
      ASSERT_NEAR(count, std::nearbyint(count), 1e-4);
      sum += count, squares += count * count;
      ++histogram[std::llround(count)];
    }
    const double mean = sum / each, variance = squares / each - mean * mean;
    EXPECT_NEAR(mean, rate, 4.5 * std::sqrt(rate / each)) << levels[l];
    EXPECT_NEAR(variance, rate, 4.5 * std::sqrt((2 * rate * rate + rate) / each)) << levels[l];
    double chi_square = 0, probability = std::exp(-rate);
    int freedom = -1;
    for (int64_t k = 0; k < 40; ++k, probability *= rate / double(k))
      if (const double expected = probability * each; expected >= 10)
        chi_square += std::pow(histogram[k] - expected, 2) / expected, ++freedom;
    EXPECT_LE(chi_square, freedom + 4.5 * std::sqrt(2.0 * std::max(freedom, 1))) << levels[l];
  }
}

TEST(PoissonNoise, LargeRatesHaveTheirTails) {
  std::vector<int> levels(256);
  for (int l = 0; l < 256; ++l) levels[size_t(l)] = l;
  const Tensor x = of_levels(levels, 4000);
  const Tensor noisy = add_poisson_noise(x, {1}, {false}, seeded(4), {.range = NoiseRange::open});
  double z_sum = 0, z_squares = 0, beyond_3 = 0, n = 0;
  for (int64_t i = 40 * 4000; i < x.numel(); ++i, ++n) {
    const double rate = double(i / 4000) * 256 / 255, z = (count_at(noisy, x, i, 256) - rate) / std::sqrt(rate);
    z_sum += z, z_squares += z * z, beyond_3 += std::abs(z) > 3;
  }
  EXPECT_NEAR(z_sum / n, 0, 4.5 / std::sqrt(n));
  EXPECT_NEAR(z_squares / n, 1, 4.5 * std::sqrt(2 / n));
  EXPECT_NEAR(beyond_3 / n, 0.0027, 0.0003);  // that of the normal distribution, a little more for the skew
}

// The definition: the smallest count whose distribution function is above (word + 1/2) / 2^32.
TEST(PoissonNoise, InvertsTheDistributionFunction) {
  const std::vector<int> levels{0, 5, 130, 255};
  const Tensor x = of_levels(levels, 3000);
  const Tensor noisy = add_poisson_noise(x, {1}, {false}, seeded(9), {.range = NoiseRange::open});
  const RandomKey key = field_key({9});
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double u = (philox4x32(key.counter(uint64_t(i) / 4), key.key())[size_t(i % 4)] + 0.5) * 0x1p-32;
    const double rate = 4.0 * levels[size_t(i / 3000)] / 255;
    double probability = std::exp(-rate), below = probability;
    int64_t count = 0;
    while (below <= u) probability *= rate / double(++count), below += probability;
    ASSERT_NEAR(count_at(noisy, x, i, 4), double(count), 1e-4) << i;
  }
}

TEST(PoissonNoise, TakesGivenCounts) {
  const Tensor x = of_levels({10, 20, 30}, 2);  // three levels: four values per unit
  const Tensor counts = Tensor::of<float>({3, 2, 1}, {0, 1, 2, 3, 4, 0});
  const Tensor noisy = add_poisson_noise(x, {0.5}, {false}, given(counts), {.range = NoiseRange::open});
  for (int64_t i = 0; i < 6; ++i) {
    const double v = x.data<float>()[i];
    EXPECT_NEAR(noisy.data<float>()[i], v + 0.5 * (counts.data<float>()[i] / 4 - v), 1e-6);
  }
}

TEST(PoissonNoise, GreyIsThatOfTheLuma) {
  const Tensor x = Tensor::of<float>({1, 2, 3}, {1, 0, 0, 0, 0, 1}), plane = Tensor::of<float>({1, 2, 1}, {2, 1});
  const NoiseOptions options{.range = NoiseRange::open, .luma_weights = {0.4f, 0.4f, 0.2f}};  // levels 102 and 51, v = 2
  const Tensor noisy = add_poisson_noise(x, {1}, {true}, given({}, plane), options);
  const double noise[] = {1 - 0.4, 0.5 - 0.2};
  for (int64_t i = 0; i < 6; ++i) EXPECT_NEAR(noisy.data<float>()[i], x.data<float>()[i] + noise[i / 3], 1e-6) << i;
}

TEST(Noise, BatchTakesStreamsBySample) {
  const Tensor batch = test::uniform({3, 33, 47, 3}, 1, 0, 1);
  const std::vector<bool> grey{false, true, false};
  for (const auto add : {add_gaussian_noise, add_poisson_noise}) {
    const Tensor all = add(batch, {3, 2, 1}, grey, seeded(1, 2), {});
    EXPECT_TRUE(test::same_bits(add(batch.slice(0, 1), {3}, {false}, seeded(1, 2), {}), all.slice(0, 1)));
    EXPECT_FALSE(test::same_bits(add(batch.slice(2, 3), {1}, {false}, seeded(1, 2), {}), all.slice(2, 3)));
    EXPECT_TRUE(test::same_bits(add(batch.slice(0, 1).reshape({33, 47, 3}), {3}, {false}, seeded(1, 2), {}),
                                all.slice(0, 1).reshape({33, 47, 3})));
  }
}

TEST(Noise, ThreadsDoNotMatter) {
  const Tensor x = test::uniform({2, 170, 220, 3}, 2, 0, 1);
  for (const auto add : {add_gaussian_noise, add_poisson_noise})
    test::expect_same_on_any_threads([&] { return add(x, {1, 2}, {true, false}, seeded(1, 2), {}); });
}

TEST(Noise, RoundsToLevelsHalfToEven) {
  const Tensor x = Tensor::of<float>({1, 6, 1}, {-0.1f, 0.5f / 255, 1.5f / 255, 0.3f, 1.2f, 1.0f}), y = round_to_levels(x);
  const float expected[] = {0, 0, 2.0f / 255, 76.0f / 255, 1, 1};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(y.data<float>()[i], expected[i]) << i;
  const Tensor clamped = clamp_to_unit(x);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(clamped.data<float>()[i], std::clamp(x.data<float>()[i], 0.0f, 1.0f)) << i;
}

TEST(Noise, RefusesWhatDoesNotFit) {
  const Tensor x = Tensor::zeros({2, 3, 3, 3});
  EXPECT_THROW(add_gaussian_noise(x, {1, 1}, {false, false}, given(Tensor::zeros({3, 3, 3}))), InputError);
  EXPECT_THROW(add_gaussian_noise(x, {1}, {false}, seeded(1)), InputError);
  EXPECT_THROW(add_gaussian_noise(x, {1, -1}, {false, false}, seeded(1)), InputError);
  EXPECT_THROW(add_gaussian_noise(x, {1, std::nan("")}, {false, false}, seeded(1)), InputError);
  EXPECT_THROW(add_poisson_noise(Tensor::zeros({4, 4, 2}), {1}, {true}, seeded(1)), InputError);
}

}  // namespace
}  // namespace relume
