#include "layers/init.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/numbers.h"

namespace relume::test {
namespace {

struct Moments {
  double mean = 0, deviation = 0, low = 0, high = 0;
};

Moments moments(const Tensor& t) {
  Moments m{.low = t.data<float>()[0], .high = t.data<float>()[0]};
  double squares = 0;
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double v = t.data<float>()[i];
    m.mean += v / double(t.numel()), squares += v * v / double(t.numel());
    m.low = std::min(m.low, v), m.high = std::max(m.high, v);
  }
  m.deviation = std::sqrt(squares - m.mean * m.mean);
  return m;
}

TEST(Init, NormalHasItsDeviation) {
  const Tensor t = Tensor::empty({100, 400});
  init_normal(t, 0.02, 1, "layer.weight");
  const Moments m = moments(t);
  EXPECT_NEAR(m.mean, 0, 5 * 0.02 / 200);
  EXPECT_NEAR(m.deviation, 0.02, 0.02 * 0.02);
  EXPECT_GT(m.high, 0.06) << "the tails are not cut";
}

TEST(Init, UniformFillsItsBounds) {
  const Tensor t = Tensor::empty({100, 400});
  init_uniform(t, 0.25, 1, "layer.weight");
  const Moments m = moments(t);
  EXPECT_NEAR(m.mean, 0, 5 * 0.25 / std::sqrt(3.0) / 200);
  EXPECT_NEAR(m.deviation, 0.25 / std::sqrt(3.0), 0.003);
  EXPECT_GE(m.low, -0.25);
  EXPECT_LE(m.high, 0.25);
  EXPECT_LT(m.low, -0.249);
  EXPECT_GT(m.high, 0.249);
}

TEST(Init, DependsOnSeedAndNameOnly) {
  const auto drawn = [](uint64_t seed, const std::string& name) {
    const Tensor t = Tensor::empty({33});
    init_normal(t, 1, seed, name);
    return t;
  };
  EXPECT_TRUE(same_bits(drawn(1, "a"), drawn(1, "a")));
  EXPECT_FALSE(same_bits(drawn(1, "a"), drawn(2, "a")));
  EXPECT_FALSE(same_bits(drawn(1, "a"), drawn(1, "b")));
}

TEST(Init, EachChangesTheVersion) {
  const Tensor t = Tensor::empty({5});
  uint64_t version = t.storage()->version();
  const auto changed = [&] { return t.storage()->version() != std::exchange(version, t.storage()->version()); };
  init_constant(t, 2.5);
  EXPECT_EQ(moments(t).low, 2.5);
  EXPECT_EQ(moments(t).high, 2.5);
  EXPECT_TRUE(changed());
  init_normal(t, 1, 1, "a");
  EXPECT_TRUE(changed());
  init_uniform(t, 1, 1, "a");
  EXPECT_TRUE(changed());
}

}  // namespace
}  // namespace relume::test
