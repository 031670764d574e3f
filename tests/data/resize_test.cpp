#include "data/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>
#include <vector>

#include "tensor/core/philox.h"
#include "tensor/core/serial.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

constexpr OpencvResize every_mode[] = {OpencvResize::linear, OpencvResize::area, OpencvResize::cubic, OpencvResize::lanczos};

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
  expect_row(resize_opencv(x, 1, 2, OpencvResize::lanczos), {0.3790374, 6.8094983});
  expect_row(resize_opencv(x, 1, 8, OpencvResize::lanczos),
             {-0.0659955, 0.1635159, 0.6477262, 1.4466535, 2.8490564, 5.387935, 8.0723906, 9.4534152});
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

TEST(Resize, KnownValuesOfPyTorch) {  // as F.interpolate gives them
  const Tensor x = row({0, 1, 4, 9});
  expect_row(resize_torch(x, 1, 7, TorchResize::nearest), {0, 0, 1, 1, 4, 4, 9});
  expect_row(resize_torch(x, 1, 7, TorchResize::nearest_exact), {0, 0, 1, 4, 4, 9, 9});
  expect_row(resize_torch(x, 1, 7, TorchResize::area), {0, 0.5, 1, 2.5, 4, 6.5, 9});
  expect_row(resize_torch(x, 1, 3, TorchResize::bilinear), {0.1666667, 2.5, 8.166668});
  expect_row(resize_torch(x, 1, 3, TorchResize::bicubic), {0.0914350, 2.125, 8.3344917});
  const TorchResizeOptions antialias{.antialias = true};
  expect_row(resize_torch(x, 1, 3, TorchResize::bilinear, antialias), {0.3, 2.5, 7.5});
  expect_row(resize_torch(x, 1, 3, TorchResize::bicubic, antialias), {0.0755149, 2.3591952, 7.9359269});
  expect_row(resize_torch(x, 1, 7, TorchResize::bicubic, antialias),
             {-0.0793271, 0.1875106, 0.8625708, 2.25, 4.3184886, 7.6042767, 9.3966351});
}

TEST(Resize, AFactorMapsTheCoordinates) {
  const Tensor x = Tensor::of<float>({2, 4, 1}, {0, 1, 4, 9, 0, 1, 4, 9});
  const Tensor y = resize_torch_by(x, 0.6, TorchResize::bilinear);
  EXPECT_EQ(y.shape(), (Shape{1, 2, 1}));
  expect_row(y, {0.3333333, 4});
  expect_row(resize_torch_by(x, 0.6, TorchResize::bicubic), {0.1481490, 4.0000010});
  EXPECT_THROW(resize_torch_by(x, 0.2, TorchResize::area), InputError);
  EXPECT_THROW(resize_torch_by(x, std::nan(""), TorchResize::area), InputError);
  EXPECT_THROW(resize_torch_by(x, 1e300, TorchResize::area), InputError);
}

TEST(Resize, ShortSideAndPadding) {
  const Tensor x = Tensor::full({2, 37, 53, 3}, 0.25);
  EXPECT_EQ(resize_short_side(x, 16).shape(), (Shape{2, 16, 22, 3}));
  const Tensor y = pad_to_multiple(x, 16);
  ASSERT_EQ(y.shape(), (Shape{2, 48, 64, 3}));
  EXPECT_EQ(y.data<float>()[52 * 3 + 2], 0.25f);
  EXPECT_EQ(y.data<float>()[53 * 3], 0);
  EXPECT_EQ(y.data<float>()[37 * 64 * 3], 0);
  EXPECT_EQ(y.data<float>()[48 * 64 * 3], 0.25f) << "the second sample";
}

TEST(Resize, ImresizeOfMatlab) {  // its borders are mirrored, the edge repeated
  const Tensor x = row({0, 1, 4, 9, 16, 25, 36, 49});
  expect_row(imresize_matlab(x, 0.5), {0.30078125, 6.26171875, 20.42578125, 43.01171875});
  for (const float v : values(imresize_matlab(Tensor::full({3, 1, 2}, 0.7), 0.1))) EXPECT_NEAR(v, 0.7f, 1e-6);
}

// Both orders of the two passes, several bands, every specialised number of channels.
TEST(Resize, OneAxisAfterTheOtherIsTheSame) {
  for (const int64_t channels : {1, 2, 3, 4, 5})
    for (const auto& [in, out] : {std::pair{150, 70}, {70, 150}, {66, 65}, {65, 66}}) {
      const Tensor x = test::uniform({2, in, in + 3, channels}, 7);
      const Tensor both = resize_torch(x, out, out, TorchResize::bicubic, {.antialias = true});
      const Tensor rows = resize_torch(x, out, in + 3, TorchResize::bicubic, {.antialias = true});
      EXPECT_LE(test::largest_difference(both, resize_torch(rows, out, out, TorchResize::bicubic, {.antialias = true})), 2e-6);
      for (const int64_t n : {0, 1}) {
        const Tensor alone = resize_torch(x.slice(n, n + 1), out, out, TorchResize::bicubic, {.antialias = true});
        EXPECT_TRUE(test::same_bits(alone, both.slice(n, n + 1))) << "a sample does not depend on its batch";
      }
    }
}

TEST(Resize, ASerialThreadGivesTheSameBits) {
  const Tensor x = test::uniform({1, 200, 130, 3}, 3);
  for (const int64_t out : {90, 400}) {
    const Tensor parallel = resize_torch(x, out, out, TorchResize::bilinear);
    Tensor serial;
    std::thread([&] {
      make_thread_serial();
      serial = resize_torch(x, out, out, TorchResize::bilinear);
    }).join();
    EXPECT_TRUE(test::same_bits(parallel, serial));
  }
}

TEST(Resize, Refusals) {
  EXPECT_THROW(resize_opencv(row({1, 2}), 0, 2, OpencvResize::linear), InputError);
  EXPECT_THROW(resize_torch(row({1, 2}), 1, 2, TorchResize::area, {.antialias = true}), InputError);
  EXPECT_THROW(resize_torch(Tensor::empty({2, 2, 3}, DType::u8), 1, 2, TorchResize::area), InputError);
  EXPECT_THROW(resize_short_side(row({1, 2}), 0), InputError);
  EXPECT_THROW(pad_to_multiple(row({1, 2}), 0), InputError);
}

}  // namespace
}  // namespace relume
