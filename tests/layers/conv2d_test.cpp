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

// A part of the result from the rows it needs, where the map goes on, and where an enlarged row is left out.
TEST(Conv2d, PartsOfAResult) {
  const NoGrad no_grad;
  const auto part = [](const Tensor& map, int64_t begin, int64_t end) {
    return map.reshape({map.shape(1), map.shape(2), map.shape(3)}).slice(begin, end).reshape(map.shape().with(1, end - begin));
  };
  for (const int enlarge : {1, 2})
    for (const int64_t channels : {2, 16}) {
      const Conv2d conv(nullptr, "", {.in = channels, .out = 5, .enlarge = enlarge});
      init_parameters(conv, 1);
      const Tensor x = uniform({1, 40, 36, channels}, 2), residual = uniform({1, 8, 36 * enlarge, 5}, 3);
      ConvOptions around = conv.options();
      around.top = around.bottom = enlarge == 1 ? 0 : -1;
      const int64_t begin = 16, first = begin / enlarge - 1, rows = 8 / enlarge + 2;
      const Tensor y = residual.clone(), expected = add(part(conv(x), begin, begin + 8), residual);
      conv.write(y, part(x, first, first + rows), around, y);
      EXPECT_LE(relative_l2(y, expected), 2e-6) << enlarge << ", " << channels;
    }
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
