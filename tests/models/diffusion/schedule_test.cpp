#include "models/diffusion/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "models/diffusion/spaced.h"
#include "models/diffusion/start_point.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(NoiseSchedule, HasThePublishedValues) {
  const NoiseSchedule plain;
  EXPECT_NEAR(plain.alpha_bar(0), 0.99915, 1e-6);
  EXPECT_NEAR(plain.alpha_bar(500), 0.276333, 1e-6);
  EXPECT_NEAR(plain.alpha_bar(999), 0.00466010, 1e-8);
  EXPECT_NEAR(plain.sigma(999) / plain.alpha(999), 14.6146, 1e-4);
}

TEST(NoiseSchedule, WithZeroTerminalSnrEndsAtNothing) {
  const NoiseSchedule zero({.zero_terminal_snr = true});
  EXPECT_NEAR(zero.alpha_bar(0), 0.99915, 1e-6);
  EXPECT_NEAR(zero.alpha_bar(200), 0.737059, 1e-6);
  EXPECT_NEAR(zero.alpha_bar(998), 1.96789e-7, 1e-12);
  EXPECT_EQ(zero.alpha_bar(999), 0);
}

TEST(NoiseSchedule, RulesDifferBetweenTheSameEnds) {
  const auto middle = [](BetaRule rule) { return make_betas({.rule = rule, .steps = 3, .first = 0.01, .last = 0.04}); };
  EXPECT_NEAR(middle(BetaRule::scaled_linear)[1], 0.0225, 1e-15);
  EXPECT_NEAR(middle(BetaRule::linear)[1], 0.025, 1e-15);
  EXPECT_NEAR(middle(BetaRule::square_root)[2], 0.2, 1e-15);
}

TEST(NoiseSchedule, RefusesWhatIsNone) {
  EXPECT_HAS(input_error([] { NoiseSchedule({.steps = 1}); }), "at least 2");
  EXPECT_HAS(input_error([] { NoiseSchedule({.last = 1}); }), "not between 0 and 1");
  EXPECT_HAS(input_error([] { NoiseSchedule().alpha_bar(1000); }), "outside of 0 .. 999");
}

TEST(Predictions, OfNoiseAndOfVelocityGiveBackX0) {
  const NoiseSchedule schedule;
  const Shape shape{2, 3, 2, 4};
  const Tensor x0 = uniform(shape, 1), noise = uniform(shape, 2);
  const std::vector<int64_t> t{300, 300};
  const Tensor x = add_noise(schedule, x0, noise, t), v = velocity(schedule, x0, noise, t);
  const double alpha = schedule.alpha(300), sigma = schedule.sigma(300);
  EXPECT_LT(relative_l2(predicted_x0(Prediction::eps, x, noise, alpha, sigma), x0), 1e-6);
  EXPECT_LT(relative_l2(predicted_x0(Prediction::v, x, v, alpha, sigma), x0), 1e-6);
}

TEST(Predictions, EverySampleHasItsOwnTime) {
  const NoiseSchedule schedule;
  const Shape shape{2, 2, 2, 1};
  const Tensor x0 = uniform(shape, 1), noise = uniform(shape, 2), both = add_noise(schedule, x0, noise, {10, 900});
  const Tensor second = add_noise(schedule, x0.slice(1, 2), noise.slice(1, 2), {900});
  EXPECT_TRUE(same_bits(both.slice(1, 2).clone(), second));
  EXPECT_GT(relative_l2(both.slice(0, 1).clone(), second), 0.1);
  EXPECT_HAS(input_error([&] { add_noise(schedule, x0, noise, {10}); }), "1 times given for the 2 samples");
}

TEST(Predictions, ANoiseModelCannotStartFromPureNoise) {
  const Tensor x = uniform({1, 2, 2, 1}, 1);
  EXPECT_HAS(input_error([&] { predicted_x0(Prediction::eps, x, x, 0, 1); }), "predicts v");
}

TEST(StartPoint, IsTheConditionAtTheLastTime) {
  const Tensor condition = uniform({1, 2, 2, 4}, 1), noise = uniform({1, 2, 2, 4}, 2);
  const NoiseSchedule plain, zero({.zero_terminal_snr = true});
  EXPECT_TRUE(same_bits(start_from_condition(plain, condition, noise), add_noise(plain, condition, noise, {999})));
  EXPECT_TRUE(same_bits(start_from_condition(zero, condition, noise), noise));
  EXPECT_TRUE(augment_condition(plain, condition, noise, 0).same_storage(condition));
  EXPECT_TRUE(same_bits(augment_condition(plain, condition, noise, 50), add_noise(plain, condition, noise, {50})));
}

TEST(SpacedTimes, FollowThePublishedRules) {
  using Times = std::vector<int64_t>;
  EXPECT_EQ(spaced_times(1000, "7"), (Times{0, 166, 333, 500, 666, 832, 999}));
  EXPECT_EQ(spaced_times(1000, "1"), (Times{0}));
  EXPECT_EQ(spaced_times(10, "2,3"), (Times{0, 4, 5, 7, 9}));
  EXPECT_EQ(spaced_times(10, "ddim5"), (Times{0, 2, 4, 6, 8}));
  EXPECT_HAS(input_error([] { spaced_times(10, "11"); }), "take fewer steps");
  EXPECT_HAS(input_error([] { spaced_times(10, "ddim7"); }), "no stride");
  EXPECT_HAS(input_error([] { spaced_times(10, "5x"); }), "'5x' is none of");
}

}  // namespace
}  // namespace relume::test
