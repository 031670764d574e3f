#include "degrade/resize.h"

#include <vector>

#include <gtest/gtest.h>

#include "tensor/core/philox.h"

namespace relume {
namespace {

constexpr OpencvResize every_mode[] = {OpencvResize::linear, OpencvResize::area, OpencvResize::cubic};

Tensor row(const std::vector<float>& values) { return Tensor::of<float>({1, int64_t(values.size()), 1}, values); }
std::vector<float> values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.numel()}; }
void expect_row(const Tensor& t, const std::vector<float>& expected) {
  ASSERT_EQ(t.numel(), int64_t(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values(t)[i], expected[i], 1e-6) << i;
}

TEST(Resize, SameSizeIsTheSamePicture) {
  const Tensor x = row({1, 2, 3});
  for (const OpencvResize mode : every_mode) EXPECT_EQ(values(resize_opencv(x, 1, 3, mode)), values(x));
}

TEST(Resize, KnownValues) {  // as cv2.resize gives them
  const Tensor x = row({0, 1, 4, 9});
  expect_row(resize_opencv(x, 1, 2, OpencvResize::linear), {0.5, 6.5});
  expect_row(resize_opencv(x, 1, 8, OpencvResize::linear), {0, 0.25, 0.75, 1.75, 3.25, 5.25, 7.75, 9});
  expect_row(resize_opencv(x, 1, 3, OpencvResize::linear), {0.16666667, 2.5, 8.1666667});
  expect_row(resize_opencv(x, 1, 2, OpencvResize::area), {0.5, 6.5});
  expect_row(resize_opencv(x, 1, 3, OpencvResize::area), {0.25, 2.5, 7.75});
  expect_row(resize_opencv(x, 1, 8, OpencvResize::area), {0, 0, 1, 1, 4, 4, 9, 9});
  expect_row(resize_opencv(x, 1, 2, OpencvResize::cubic), {0.21875, 6.78125});
  expect_row(resize_opencv(x, 1, 8, OpencvResize::cubic),
             {-0.10546875, 0.12109375, 0.45703125, 1.609375, 2.828125, 5.44921875, 7.97265625, 9.52734375});
}

TEST(Resize, KeepsConstantsAndOrderOfAxes) {
  Tensor x = Tensor::empty({6, 10, 5});
  std::fill_n(x.data<float>(), x.numel(), 0.7f);
  for (const OpencvResize mode : every_mode)
    for (const auto& [height, width] : {std::pair{3, 7}, {11, 23}, {4, 15}, {1, 1}}) {
      const Tensor y = resize_opencv(x, height, width, mode);
      ASSERT_EQ(y.shape(), (Shape{height, width, 5}));
      for (const float v : values(y)) ASSERT_NEAR(v, 0.7f, 1e-6);
    }
}

TEST(Resize, ChannelsAndAxesAreIndependent) {
  Tensor x = Tensor::empty({9, 14, 3});
  RandomStream random({.seed = 3, .purpose = "test"});
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = float(random.uniform());
  for (const OpencvResize mode : every_mode)
    for (const auto& [height, width] : {std::pair{4, 5}, {20, 31}}) {
      const Tensor whole = resize_opencv(x, height, width, mode);
      for (int64_t c = 0; c < 3; ++c) {
        Tensor turned = Tensor::empty({14, 9, 1});  // one channel, rows and columns exchanged
        for (int64_t y = 0; y < 9; ++y)
          for (int64_t i = 0; i < 14; ++i) turned.data<float>()[i * 9 + y] = x.data<float>()[(y * 14 + i) * 3 + c];
        const Tensor alone = resize_opencv(turned, width, height, mode);
        for (int64_t y = 0; y < height; ++y)
          for (int64_t i = 0; i < width; ++i)
            ASSERT_NEAR(alone.data<float>()[i * height + y], whole.data<float>()[(y * width + i) * 3 + c], 1e-6);
      }
    }
}

TEST(Resize, ReducedSideIsTheFloorOfTheRealQuotient) {
  EXPECT_EQ(reduced_side(512, 12), 42);
  EXPECT_EQ(reduced_side(512, 1), 512);
  EXPECT_EQ(reduced_side(512, 0.8), 639);  // 0.8 as a double is above 4/5, so the quotient is below 640
  EXPECT_EQ(reduced_side(6, 0.1), 59);     // Python: 6 // 0.1
  EXPECT_EQ(reduced_side(8, 11.3), 0);
  EXPECT_THROW(reduced_side(8, 0), InputError);
}

TEST(Resize, RefusesEmptyTargets) { EXPECT_THROW(resize_opencv(row({1, 2}), 0, 2, OpencvResize::linear), InputError); }

}  // namespace
}  // namespace relume
