// The float polynomials of tensor/scalar/math.h against double arithmetic over the whole range, and the functors against their
// definitions. One ulp is the spacing of floats at the exact result.
#include "tensor/scalar/math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cfloat>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <string>

#include "tensor/scalar/functors.h"

namespace relume {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

double spacing(double exact) {
  const double magnitude = std::max(std::abs(exact), 0x1p-126);
  return std::ldexp(1.0, std::ilogb(magnitude) - 23);
}

struct Worst {
  double ulp = 0, absolute = 0;
  float at = 0;
};

// Every 257th of the floats in [low, high], both ends included, so 16 million for the whole line.
Worst worst_error(const std::function<float(float)>& f, const std::function<double(double)>& exact, float low, float high) {
  const auto ordered = [](float x) {  // monotone integers
    const int32_t i = std::bit_cast<int32_t>(x);
    return int64_t(i < 0 ? -(i & 0x7fffffff) : i);
  };
  Worst worst;
  for (int64_t i = ordered(low);; i = std::min(i + 257, ordered(high))) {
    const float x = std::bit_cast<float>(i < 0 ? uint32_t(-i) | 0x80000000u : uint32_t(i));
    const double y = exact(double(x)), got = double(f(x));
    if (std::isinf(float(y)) || std::isinf(got)) {
      EXPECT_EQ(float(y), float(got)) << x;
    } else {
      EXPECT_FALSE(std::isnan(got)) << x;
      worst.absolute = std::max(worst.absolute, std::abs(got - y));
      if (const double ulp = std::abs(got - y) / spacing(y); ulp > worst.ulp) worst.ulp = ulp, worst.at = x;
    }
    if (i == ordered(high)) return worst;
  }
}

#define EXPECT_ULP(limit, ...)                                                           \
  do {                                                                                   \
    const Worst worst = worst_error(__VA_ARGS__);                                        \
    EXPECT_LE(worst.ulp, limit) << "at " << worst.at << ", absolute " << worst.absolute; \
    RecordProperty("ulp_line_" + std::to_string(__LINE__), std::to_string(worst.ulp));   \
  } while (false)

TEST(Math, Exp) {
  EXPECT_ULP(
      1.1, [](float x) { return math::exp(x); }, [](double x) { return std::exp(x); }, -FLT_MAX, FLT_MAX);
  EXPECT_EQ(math::exp(0.0f), 1.0f);
  EXPECT_EQ(math::exp(infinity), infinity);
  EXPECT_EQ(math::exp(-infinity), 0.0f);
  EXPECT_TRUE(std::isnan(math::exp(not_a_number)));
}

TEST(Math, Log) {
  EXPECT_ULP(
      1.1, [](float x) { return math::log(x); }, [](double x) { return std::log(x); }, 0x1p-149f, FLT_MAX);
  EXPECT_EQ(math::log(1.0f), 0.0f);
  EXPECT_EQ(math::log(0.0f), -infinity);
  EXPECT_EQ(math::log(-0.0f), -infinity);
  EXPECT_EQ(math::log(infinity), infinity);
  EXPECT_TRUE(std::isnan(math::log(-1.0f)));
  EXPECT_TRUE(std::isnan(math::log(-infinity)));
  EXPECT_TRUE(std::isnan(math::log(not_a_number)));
}

TEST(Math, Tanh) {
  EXPECT_ULP(
      2.0, [](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); }, -FLT_MAX, FLT_MAX);
  EXPECT_TRUE(std::signbit(math::tanh(-0.0f)));
  EXPECT_EQ(math::tanh(infinity), 1.0f);
  EXPECT_EQ(math::tanh(-infinity), -1.0f);
  EXPECT_TRUE(std::isnan(math::tanh(not_a_number)));
}

TEST(Math, Erf) {
  EXPECT_ULP(
      2.0, [](float x) { return math::erf(x); }, [](double x) { return std::erf(x); }, -FLT_MAX, FLT_MAX);
  EXPECT_TRUE(std::signbit(math::erf(-0.0f)));
  EXPECT_EQ(math::erf(infinity), 1.0f);
  EXPECT_EQ(math::erf(-infinity), -1.0f);
  EXPECT_TRUE(std::isnan(math::erf(not_a_number)));
}

TEST(Math, GaussianAndNormalTail) {
  EXPECT_ULP(
      2.0, [](float x) { return math::gaussian(x); }, [](double x) { return std::exp(-0.5 * x * x); }, -FLT_MAX, FLT_MAX);
  EXPECT_ULP(
      7.0, [](float x) { return math::normal_tail(x); }, [](double x) { return math::normal_tail(x); }, -FLT_MAX, FLT_MAX);
  EXPECT_EQ(math::normal_cdf(infinity), 1.0f);
  EXPECT_EQ(math::normal_cdf(-infinity), 0.0f);
  EXPECT_NEAR(math::normal_cdf(0.0f), 0.5f, 0x1p-24);
  EXPECT_TRUE(std::isnan(math::normal_cdf(not_a_number)));
}

TEST(Math, SinCosPi) {
  const auto sine = [](float x) {
    float s, c;
    math::sincospi(x, s, c);
    return s;
  };
  const auto cosine = [](float x) {
    float s, c;
    math::sincospi(x, s, c);
    return c;
  };
  const auto reduced = [](double x) { return std::numbers::pi * std::remainder(x, 2.0); };
  // Near their zeros the exact values are sin of an exact multiple of pi: reduce around the nearest zero.
  EXPECT_ULP(
      2.0, sine,
      [](double x) {
        const double n = std::rint(x);
        return (std::fmod(std::abs(n), 2.0) == 1 ? -1 : 1) * std::sin(std::numbers::pi * (x - n));
      },
      -0x1p29f, 0x1p29f);
  EXPECT_ULP(
      2.0, cosine,
      [](double x) {
        const double n = std::floor(x), r = x - n - 0.5;
        return (std::fmod(std::abs(n), 2.0) == 1 ? 1 : -1) * std::sin(std::numbers::pi * r);
      },
      -0x1p29f, 0x1p29f);
  for (int i = -16; i <= 16; ++i) {
    double s, c;
    math::sincospi(i / 8.0, s, c);
    EXPECT_NEAR(s, std::sin(reduced(i / 8.0)), 1e-15);
    EXPECT_NEAR(c, std::cos(reduced(i / 8.0)), 1e-15);
  }
}

// GELU by its textbook formula loses all its figures below -5: 1 + erf cancels.
TEST(Functors, GeluKeepsItsRelativeAccuracy) {
  const auto gelu = [](float x) { return Gelu{}.value(x); };
  const auto exact = [](double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); };
  EXPECT_ULP(7.0, gelu, exact, -6.0f, -1.0f);
  EXPECT_ULP(4.5, gelu, exact, -1.0f, 0.0f);
  EXPECT_ULP(4.5, gelu, exact, 0.0f, FLT_MAX);
  EXPECT_LE(worst_error(gelu, exact, -FLT_MAX, -6.0f).absolute, 1e-14);
  EXPECT_NEAR(Gelu{}.value(-5.0), exact(-5.0), 2e-20);
}

TEST(Functors, SiluMatchesItsFormula) {
  const auto exact = [](double x) { return x / (1 + std::exp(-x)); };
  EXPECT_ULP(
      4.0, [](float x) { return Silu{}.value(x); }, exact, -87.0f, FLT_MAX);
  EXPECT_LE(worst_error([](float x) { return Silu{}.value(x); }, exact, -FLT_MAX, -87.0f).absolute, 1e-35);
}

template <class F> void expect_slope_is_the_derivative(F f) {
  for (double x = -9.035; x < 9; x += 0.01) {
    const double h = 1e-6, difference = (f.value(x + h) - f.value(x - h)) / (2 * h);
    const double rounding = DBL_EPSILON * (std::abs(f.value(x)) + std::abs(x)) / h;  // of two values, over 2 h, and of x + h
    EXPECT_NEAR(f.slope(x), difference, 1e-11 + rounding) << x;
    EXPECT_NEAR(f.slope(float(x)), f.slope(double(float(x))), 3e-7) << x;
    EXPECT_NEAR(f.value(float(x)), f.value(double(float(x))), 3e-7 * std::max(1.0, std::abs(x))) << x;
  }
}

TEST(Functors, SlopesAreTheDerivatives) {
  expect_slope_is_the_derivative(Identity{});
  expect_slope_is_the_derivative(Gelu{});
  expect_slope_is_the_derivative(Silu{});
  expect_slope_is_the_derivative(LeakyRelu{0.2});
  expect_slope_is_the_derivative(LeakyRelu{});
  EXPECT_EQ(LeakyRelu{0.2}.slope(0.0f), 0.2f);
}

TEST(Functors, PassNanOn) {
  EXPECT_TRUE(std::isnan(Gelu{}.value(not_a_number)));
  EXPECT_TRUE(std::isnan(Gelu{}.slope(not_a_number)));
  EXPECT_TRUE(std::isnan(Silu{}.value(not_a_number)));
  EXPECT_TRUE(std::isnan(LeakyRelu{0.2}.value(not_a_number)));
}

}  // namespace
}  // namespace relume
