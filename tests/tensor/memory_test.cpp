// Conversions between element types, and copies of pitched rows.
#include "tensor/kernels/memory.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

namespace relume {
namespace {

Tensor every_pattern(DType type) {
  Tensor t = Tensor::empty({65536}, type);
  auto* bits = static_cast<uint16_t*>(t.raw());
  std::iota(bits, bits + 65536, uint16_t(0));
  return t;
}

// Where rounding is decided: every 1021st float, and each 16-bit value, its midpoint to the next, and both neighbours of that.
std::vector<float> rounding_cases(DType type) {
  std::vector<float> cases;
  for (uint64_t bits = 0; bits < uint64_t(1) << 32; bits += 1021) cases.push_back(std::bit_cast<float>(uint32_t(bits)));
  const Tensor wide = every_pattern(type).to(DType::f32);
  for (int i = 0; i < 65536; ++i) {
    const float x = wide.data<float>()[i];
    if (!std::isfinite(x)) continue;
    const uint32_t half_step = type == DType::bf16 ? 0x8000u : 0x1000u;
    const float middle = std::abs(x) < 0x1p-14f && type == DType::f16
                             ? x + std::copysign(0x1p-25f, x)
                             : std::bit_cast<float>(std::bit_cast<uint32_t>(x) + half_step);
    for (const float y : {x, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 2 * middle)}) cases.push_back(y);
  }
  return cases;
}

#ifdef __FLT16_MANT_DIG__
TEST(Half, WidensEveryPatternExactly) {
  const Tensor half = every_pattern(DType::f16), wide = half.to(DType::f32);
  for (int i = 0; i < 65536; ++i) {
    _Float16 oracle;
    std::memcpy(&oracle, static_cast<uint16_t*>(half.raw()) + i, 2);
    const float got = wide.data<float>()[i], expected = float(oracle);
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(got)) << i;
    else
      ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << i;
  }
}

TEST(Half, RoundsToNearestEven) {
  const std::vector<float> cases = rounding_cases(DType::f16);
  const Tensor x = Tensor::of({int64_t(cases.size())}, cases), half = x.to(DType::f16);
  for (size_t i = 0; i < cases.size(); ++i) {
    const _Float16 oracle = _Float16(cases[i]);
    uint16_t expected;
    std::memcpy(&expected, &oracle, 2);
    const Float16 got = half.data<Float16>()[i];
    if (std::isnan(cases[i]))
      ASSERT_TRUE(std::isnan(float(got))) << i;
    else
      ASSERT_EQ(got.bits, expected) << cases[i];
    ASSERT_EQ(got.bits, Float16(cases[i]).bits) << cases[i];  // vectorised and scalar conversion agree, NaN included
  }
}
#else
TEST(Half, WidensEveryPatternExactly) { GTEST_SKIP() << "this compiler has no _Float16 to compare with"; }
TEST(Half, RoundsToNearestEven) { GTEST_SKIP() << "this compiler has no _Float16 to compare with"; }
#endif

TEST(BFloat16, RoundsToNearestEven) {
  const std::vector<float> cases = rounding_cases(DType::bf16);
  const Tensor x = Tensor::of({int64_t(cases.size())}, cases), half = x.to(DType::bf16), back = half.to(DType::f32);
  for (size_t i = 0; i < cases.size(); ++i) {
    const float value = cases[i], got = back.data<float>()[i];
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(got)) << i;
      continue;
    }
    const uint32_t bits = std::bit_cast<uint32_t>(value), down = bits & 0xffff0000u, rest = bits & 0xffffu;
    const bool up = rest > 0x8000u || (rest == 0x8000u && (bits >> 16 & 1u));
    ASSERT_EQ(std::bit_cast<uint32_t>(got), up ? down + 0x10000u : down) << value;
  }
}

TEST(Copy, ToPicturesClampsAndRoundsHalfToEven) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x{-infinity, -1,     -0.5f, 0.5f,  1.5f,     2.5f, 2.51f, 254.5f,
                             255,       255.4f, 256,   1e30f, infinity, nan,  100,   0};
  const std::vector<int> expected{0, 0, 0, 0, 2, 2, 3, 254, 255, 255, 255, 255, 255, 0, 100, 0};
  for (const DType type : {DType::f32, DType::f64}) {
    const Tensor u = Tensor::of({int64_t(x.size())}, x).to(type).to(DType::u8);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(int(u.data<uint8_t>()[i]), expected[i]) << x[i] << " as " << type;
  }
  const Tensor from_half = Tensor::of<float>({4}, {0.5f, 1.5f, 300, -3}).to(DType::f16).to(DType::u8);
  EXPECT_EQ(from_half.data<uint8_t>()[1], 2);
  EXPECT_EQ(from_half.data<uint8_t>()[2], 255);
}

TEST(Copy, ToIntegersCutsFractionsAndSaturates) {
  const Tensor x = Tensor::of<double>({6}, {-1.9, 1.9, 1e10, -1e10, 1e19, std::nan("")});
  const Tensor i32 = x.to(DType::i32), i64 = x.to(DType::i64);
  EXPECT_EQ(std::vector<int32_t>(i32.data<int32_t>(), i32.data<int32_t>() + 6),
            (std::vector<int32_t>{-1, 1, INT32_MAX, INT32_MIN, INT32_MAX, 0}));
  EXPECT_EQ(std::vector<int64_t>(i64.data<int64_t>(), i64.data<int64_t>() + 6),
            (std::vector<int64_t>{-1, 1, 10000000000, -10000000000, INT64_MAX, 0}));
  const Tensor narrow = Tensor::of<int64_t>({3}, {-5, 70, 1000}).to(DType::u8);
  EXPECT_EQ(std::vector<int>(narrow.data<uint8_t>(), narrow.data<uint8_t>() + 3), (std::vector<int>{0, 70, 255}));
}

TEST(Copy, EveryPairOfTypesKeepsSmallIntegers) {
  const std::vector<DType> types{DType::f32, DType::f64, DType::f16, DType::bf16, DType::u8, DType::i32, DType::i64};
  const Tensor x = Tensor::of<double>({2, 5}, {0, 1, 2, 3, 100, 7, 8, 127, 128, 64});
  for (const DType from : types)
    for (const DType to : types) {
      const Tensor back = x.to(from).to(to).to(DType::f64);
      for (int i = 0; i < 10; ++i) EXPECT_EQ(back.data<double>()[i], x.data<double>()[i]) << from << " to " << to;
    }
}

TEST(Copy, ToBooleanEverythingButZeroIsOne) {
  const Tensor x = Tensor::of<double>({6}, {0, -0.0, 0.25, -3, 1e300, std::nan("")});
  const std::vector<double> expected{0, 0, 1, 1, 1, 1};
  const Tensor flags = x.to(DType::boolean);
  EXPECT_EQ(detail::concat(flags), "bool cpu [6]");
  for (const DType to : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::u8, DType::i32, DType::i64}) {
    const Tensor back = flags.to(to).to(DType::f64);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(back.data<double>()[i], expected[size_t(i)]) << i << " through " << to;
  }
  for (const DType from : {DType::u8, DType::i32, DType::i64, DType::f16, DType::bf16})
    EXPECT_EQ(std::vector<bool>(2, true), [&] {
      const Tensor two = Tensor::full({2}, 2, from).to(DType::boolean);
      return std::vector<bool>(two.data<bool>(), two.data<bool>() + 2);
    }()) << from;
  EXPECT_EQ(int(Tensor::full({1}, 7, DType::boolean).to(DType::u8).data<uint8_t>()[0]), 1);
  EXPECT_EQ(int(Tensor::of<bool>({2}, {true, false}).to(DType::u8).data<uint8_t>()[0]), 1);
}

TEST(Copy, PitchedRowsOnEitherSide) {
  for (const DType type : {DType::f32, DType::u8}) {
    const Tensor source = Tensor::full({37, 11}, 3, type), target = Tensor::full({37, 20}, 9, type);
    const Tensor into = target.columns(4, 9);
    into.copy_from(source.columns(2, 7));
    const Tensor all = target.to(DType::f64);
    for (int r = 0; r < 37; ++r)
      for (int c = 0; c < 20; ++c) EXPECT_EQ(all.data<double>()[r * 20 + c], c >= 4 && c < 9 ? 3 : 9) << r << ' ' << c;
  }
}

TEST(Fill, FillsOnlyItsView) {
  for (const DType type : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::u8, DType::i32, DType::i64}) {
    const Tensor t = Tensor::full({300, 200}, 2, type), view = t.columns(50, 170);
    kernels::fill.on({})(view, 5);
    const Tensor all = t.to(DType::f64);
    for (int i = 0; i < 300 * 200; ++i) ASSERT_EQ(all.data<double>()[i], i % 200 >= 50 && i % 200 < 170 ? 5 : 2) << type;
  }
}

TEST(Uploads, OnTheCpuBatchesStayWhatTheyAre) {
  const std::unique_ptr<Uploads> uploads = kernels::uploads.on({})({});
  const Tensor first = Tensor::full({2}, 1), second = Tensor::full({3}, 2);
  uploads->begin({first}), uploads->begin({second, first});
  EXPECT_THROW(uploads->begin({first}), BugError);
  EXPECT_TRUE(uploads->take().at(0).same_storage(first));
  EXPECT_TRUE(uploads->take().at(0).same_storage(second));
  EXPECT_THROW(uploads->take(), BugError);
}

TEST(Repeated, OnTheCpuAFunctionStaysWhatItIs) {
  Tensor seen;
  const auto f = kernels::repeated.on({})({}, [&](const std::vector<Tensor>& x) { return seen = x[0]; });
  for (int i = 0; i < 5; ++i) {
    const Tensor x = Tensor::full({2}, i);
    EXPECT_TRUE((*f)({x}).same_storage(x));
    EXPECT_TRUE(seen.same_storage(x));
  }
}

}  // namespace
}  // namespace relume
