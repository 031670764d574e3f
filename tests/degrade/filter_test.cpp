#include "degrade/filter.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/support/threads.h"

namespace relume {
namespace {

Tensor noisy(const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::empty(shape);
  RandomStream random({.seed = seed, .purpose = "test"});
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = float(random.uniform());
  return t;
}

// The definition, in double.
double expected(const Tensor& image, const Tensor& kernel, int64_t y, int64_t x, int64_t c) {
  const auto mirror = [](int64_t i, int64_t n) {
    while (n > 1 && (i < 0 || i >= n)) i = i < 0 ? -i : 2 * (n - 1) - i;
    return n == 1 ? 0 : i;
  };
  const int64_t kh = kernel.shape(0), kw = kernel.shape(1);
  double sum = 0;
  for (int64_t j = 0; j < kh; ++j)
    for (int64_t i = 0; i < kw; ++i) {
      const int64_t sy = mirror(y + j - kh / 2, image.shape(0)), sx = mirror(x + i - kw / 2, image.shape(1));
      sum += kernel.data<double>()[j * kw + i] * image.data<float>()[(sy * image.shape(1) + sx) * image.shape(2) + c];
    }
  return sum;
}

void expect_filtered(const Tensor& image, const Tensor& kernel, const Tensor& result) {
  ASSERT_EQ(result.shape(), image.shape());
  const float* value = result.data<float>();
  for (int64_t y = 0; y < image.shape(0); ++y)
    for (int64_t x = 0; x < image.shape(1); ++x)
      for (int64_t c = 0; c < image.shape(2); ++c)
        ASSERT_NEAR(*value++, expected(image, kernel, y, x, c), 2e-6) << image << " " << kernel << " at " << y << ", " << x;
}

TEST(Filter, IsTheDefinitionOnAwkwardShapes) {
  uint64_t seed = 0;
  for (const Shape& picture : {Shape{1, 1, 3}, Shape{1, 9, 1}, Shape{5, 3, 2}, Shape{13, 17, 3}, Shape{31, 67, 4}})
    for (const Shape& size : {Shape{1, 1}, Shape{3, 3}, Shape{1, 7}, Shape{8, 5}, Shape{21, 21}}) {
      const Tensor image = noisy(picture, ++seed), kernel = Tensor::empty(size, DType::f64);  // not symmetric: a correlation
      RandomStream random({.seed = seed, .purpose = "kernel"});
      for (int64_t i = 0; i < kernel.numel(); ++i) kernel.data<double>()[i] = random.uniform(-1, 1) / double(kernel.numel());
      expect_filtered(image, kernel, filter2d(image, kernel));
    }
}

TEST(Filter, SeparableIsTheProductOfItsLines) {
  const std::vector<double> column{0.1, 0.5, 0.2, 0.2}, row{0.3, -0.1, 0.8};
  const Tensor image = noisy({11, 23, 3}, 7), kernel = Tensor::empty({4, 3}, DType::f64);
  for (int64_t i = 0; i < 12; ++i) kernel.data<double>()[i] = column[size_t(i / 3)] * row[size_t(i % 3)];
  expect_filtered(image, kernel, filter_separable(image, column, row));
}

TEST(Filter, BlurTakesEitherPathToTheSameResult) {
  const Tensor image = noisy({50, 61, 3}, 8);
  for (const double sigma : {0.1, 0.6, 2.0, 12.0}) {
    const BlurKernel k = bivariate_kernel(BlurProfile::gaussian, 41, {.sigma_x = sigma});
    const Tensor two_passes = blur(image, k), one = filter2d(image, Tensor::of<double>({41, 41}, k.weights));
    for (int64_t i = 0; i < image.numel(); ++i) ASSERT_NEAR(two_passes.data<float>()[i], one.data<float>()[i], 2e-6) << sigma;
  }
}

// These are carried out as sums of a few products of lines.
TEST(Filter, SmoothKernelsAreTheDefinitionToo) {
  const Tensor image = noisy({24, 31, 3}, 17);
  for (const BlurKernel& k : {bivariate_kernel(BlurProfile::gaussian, 41, {12, 9, 0.5, false}),
                              bivariate_kernel(BlurProfile::gaussian, 41, {3, 8, -2, false}),
                              bivariate_kernel(BlurProfile::generalized, 31, {4, 6, 1, false}, 0.8), sinc_kernel(41, 0.9)})
    expect_filtered(image, Tensor::of<double>({k.size, k.size}, k.weights), blur(image, k));
}

TEST(Filter, LeavingOutSmallTapsIsInvisible) {
  const Tensor flat = Tensor::empty({20, 20, 3});
  std::fill_n(flat.data<float>(), flat.numel(), 1.0f);
  const Tensor result = blur(flat, bivariate_kernel(BlurProfile::gaussian, 41, {1.1, 2.4, 0.5, false}));
  for (int64_t i = 0; i < result.numel(); ++i) ASSERT_NEAR(result.data<float>()[i], 1, 1e-6);
}

TEST(Filter, BatchTakesAKernelEach) {
  const Tensor batch = noisy({3, 29, 34, 3}, 9), kernels = noisy({3, 7, 5}, 10);
  const Tensor each = filter2d(batch, kernels), shared = filter2d(batch, kernels.slice(1, 2));
  for (int64_t n = 0; n < 3; ++n) {
    const Tensor picture = batch.slice(n, n + 1), kernel = kernels.slice(n, n + 1);
    EXPECT_TRUE(test::same_bits(filter2d(picture, kernel), each.slice(n, n + 1)));
    EXPECT_TRUE(test::same_bits(filter2d(picture, kernels.slice(1, 2).reshape({7, 5})), shared.slice(n, n + 1)));
  }
}

TEST(Filter, BlurOfABatchIsThatOfItsPictures) {
  const Tensor batch = noisy({3, 29, 34, 3}, 11);
  const std::vector<BlurKernel> kernels{bivariate_kernel(BlurProfile::gaussian, 9, {.sigma_x = 2}), pulse_kernel(9),
                                        padded(bivariate_kernel(BlurProfile::gaussian, 7, {1, 2, 0.3, false}), 9)};
  const Tensor each = blur(batch, kernels);
  for (int64_t n = 0; n < 3; ++n)
    EXPECT_TRUE(test::same_bits(blur(batch.slice(n, n + 1), kernels[size_t(n)]), each.slice(n, n + 1))) << n;
  EXPECT_THROW(blur(batch, std::span(kernels).first(2)), InputError);
}

TEST(Filter, PulseIsFree) {
  const Tensor image = noisy({2, 30, 30, 3}, 12);
  EXPECT_TRUE(blur(image, pulse_kernel(21)).same_storage(image));
}

TEST(Filter, ZerosAroundAKernelChangeNothing) {
  const Tensor image = noisy({33, 45, 3}, 13);
  const BlurKernel small = bivariate_kernel(BlurProfile::plateau, 7, {1.5, 2.5, 1.0, false}, 1.5);
  EXPECT_TRUE(test::same_bits(blur(image, padded(small, 21)), blur(image, small)));
}

TEST(Filter, WantedRowsAreThoseOfTheWhole) {
  const Tensor image = noisy({2, 60, 50, 3}, 16);
  const std::vector<int64_t> rows{0, 3, 4, 9, 10, 11, 12, 13, 14, 15, 30, 58, 59};
  for (const BlurKernel& k : {bivariate_kernel(BlurProfile::gaussian, 21, {.sigma_x = 4}),
                              bivariate_kernel(BlurProfile::gaussian, 21, {4, 6, 0.3, false})}) {
    const Tensor some = blur(image, {&k, 1}, rows), all = blur(image, k);
    for (int64_t n = 0; n < 2; ++n)
      for (const int64_t row : rows)
        for (int64_t i = (n * 60 + row) * 150; i < (n * 60 + row + 1) * 150; ++i)
          ASSERT_NEAR(some.data<float>()[i], all.data<float>()[i], 2e-7) << row;
  }
  const BlurKernel pulse = padded(bivariate_kernel(BlurProfile::gaussian, 3, {}), 5);
  EXPECT_THROW(blur(image, {&pulse, 1}, std::vector<int64_t>{4, 4}), InputError);
  EXPECT_THROW(blur(image, {&pulse, 1}, std::vector<int64_t>{60}), InputError);
}

TEST(Filter, ThreadsDoNotMatter) {
  const Tensor image = noisy({2, 150, 140, 3}, 14), kernel = noisy({21, 21}, 15);
  const std::vector<double> line(51, 1.0 / 51);
  test::expect_same_on_any_threads([&] { return filter2d(image, kernel); });
  test::expect_same_on_any_threads([&] { return filter_separable(image, line, line); });
}

TEST(Filter, RefusesOtherThanPictures) {
  const Tensor kernel = Tensor::of<double>({1, 1}, {1.0});
  EXPECT_THROW(filter2d(Tensor::empty({4, 4}), kernel), InputError);
  EXPECT_THROW(filter2d(Tensor::empty({4, 4, 3}, DType::u8), kernel), InputError);
  EXPECT_THROW(filter2d(Tensor::empty({4, 0, 3}), kernel), InputError);
  EXPECT_THROW(filter2d(Tensor::empty({4, 4, 3}), Tensor::empty({3}, DType::f64)), InputError);
  EXPECT_THROW(filter2d(Tensor::empty({3, 4, 4, 3}), Tensor::empty({2, 3, 3}, DType::f64)), InputError);
}

}  // namespace
}  // namespace relume
