#include "autograd/gather.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(Embedding, TakesRowsAndSumsTheirGradients) {
  const Tensor table = require_grad(Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 6}));
  const Tensor y = embedding(Tensor::of<int64_t>({2, 2}, {2, 0, 2, 2}), table);
  EXPECT_TRUE(same_bits(y.detach(), Tensor::of<float>({2, 2, 2}, {5, 6, 1, 2, 5, 6, 5, 6})));
  backward(y, Tensor::of<float>({2, 2, 2}, {1, 10, 2, 20, 4, 40, 8, 80}));
  EXPECT_TRUE(same_bits(grad(table), Tensor::of<float>({3, 2}, {2, 20, 0, 0, 13, 130})));
}

TEST(Embedding, NoIdsGiveNoRowsAndNoGradient) {
  const Tensor table = require_grad(uniform({3, 2}, 1));
  const Tensor y = embedding(Tensor::of<int64_t>({0}, {}), table);
  EXPECT_EQ(y.shape(), (Shape{0, 2}));
  backward(y, Tensor::empty({0, 2}));
  EXPECT_TRUE(same_bits(grad(table), Tensor::zeros({3, 2})));
}

TEST(Embedding, RefusesWhatIsNoRow) {
  const Tensor table = uniform({3, 2}, 1);
  const auto refusal = [&](const Tensor& ids, const Tensor& of) { return input_error([&] { embedding(ids, of); }); };
  EXPECT_HAS(refusal(Tensor::of<int64_t>({2}, {0, 3}), table),
             "gather_rows: id 3 at place 1 is no row of the table f32 cpu [3, 2]");
  EXPECT_HAS(refusal(Tensor::of<int64_t>({1}, {-1}), table), "id -1 at place 0");
  EXPECT_HAS(refusal(Tensor::of<int32_t>({1}, {0}), table), "embedding: ids i32 cpu [1] given; expected i64");
  EXPECT_HAS(refusal(Tensor::of<int64_t>({1}, {0}), uniform({3}, 1)),
             "embedding: table f32 cpu [3] given; expected floats [R, C]");
  EXPECT_HAS(refusal(Tensor::of<int64_t>({1, 1, 1, 1, 1, 1}, {0}), table), "of at most 5 axes");
}

}  // namespace
}  // namespace relume::test
