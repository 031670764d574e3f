#include "layers/conv2d.h"

#include <gtest/gtest.h>

#include "layers/init.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(Conv2d, PaddingKeepsTheSizeUnlessItIsGiven) {
  const auto output = [](const Conv2dShape& shape) {
    const Conv2d conv(nullptr, "", shape);
    init_parameters(conv, 1);
    const NoGrad no_grad;
    return conv(uniform({1, 6, 9, 2}, 2)).shape();
  };
  EXPECT_EQ(output({.in = 2, .out = 3}), (Shape{1, 6, 9, 3}));
  EXPECT_EQ(output({.in = 2, .out = 3, .enlarge = 2}), (Shape{1, 12, 18, 3}));
  EXPECT_EQ(output({.in = 2, .out = 3, .stride = 2}), (Shape{1, 3, 5, 3}));
  EXPECT_EQ(output({.in = 2, .out = 3, .stride = 2, .pad_before = 0, .pad_after = 1}), (Shape{1, 3, 4, 3}));
  EXPECT_EQ(output({.in = 2, .out = 3, .kernel = 2, .stride = 2, .pad_before = 0, .pad_after = 0}), (Shape{1, 3, 4, 3}));
}

// A weight that takes the last row and column of taps alone shows where the zeros stand.
TEST(Conv2d, PaddingBehindTheMapAlone) {
  const Conv2d conv(nullptr, "", {.in = 1, .out = 1, .bias = false, .stride = 2, .pad_before = 0, .pad_after = 1});
  conv.weight.copy_from(Tensor::of<float>({1, 3, 3, 1}, {0, 0, 0, 0, 0, 0, 0, 0, 1}));
  const Tensor x = Tensor::of<float>({1, 4, 4, 1}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  const NoGrad no_grad;
  EXPECT_TRUE(same_bits(conv(x), Tensor::of<float>({1, 2, 2, 1}, {10, 0, 0, 0})));
}

TEST(ConvTranspose2d, EveryPixelBecomesASquare) {
  constexpr int in = 5, out = 3, side = 2;
  const ConvTranspose2d conv(nullptr, "", in, out, side);
  init_parameters(conv, 1);
  const Tensor x = uniform({2, 3, 4, in}, 2), w = conv.weight;
  const NoGrad no_grad;
  const Tensor y = conv(x);
  ASSERT_EQ(y.shape(), (Shape{2, 6, 8, out}));
  Tensor expected = Tensor::empty(y.shape());
  for (int64_t pixel = 0; pixel < 2 * 6 * 8; ++pixel) {
    const int64_t n = pixel / 48, row = pixel / 8 % 6, column = pixel % 8;
    const float* from = x.data<float>() + ((n * 3 + row / side) * 4 + column / side) * in;
    for (int o = 0; o < out; ++o) {
      const float* taps = w.data<float>() + ((o * side + row % side) * side + column % side) * in;
      double sum = 0;
      for (int i = 0; i < in; ++i) sum += from[i] * taps[i];
      expected.data<float>()[pixel * out + o] = float(sum);
    }
  }
  EXPECT_LT(relative_l2(y, expected), 1e-6);
  EXPECT_EQ(stored_state(conv)[0].tensor.shape(), (Shape{in, out, side, side})) << "as published";
}

}  // namespace
}  // namespace relume::test
