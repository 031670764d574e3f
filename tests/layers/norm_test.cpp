#include "layers/norm.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

struct Block : Module {
  explicit Block(GroupNormOptions options) : Module(nullptr, ""), norm(this, "in_layers.0", 6, options) {
    norm.weight.copy_from(uniform({6}, 1)), norm.bias.copy_from(uniform({6}, 2));
  }
  GroupNorm norm;
};

TEST(GroupNorm, HasThePublishedNamesAndItsOptions) {
  const GroupNormOptions options{.groups = 3, .eps = 1e-6, .act = silu_activation};
  const Block block(options);
  const std::vector<NamedTensor> parameters = block.parameters();
  ASSERT_EQ(parameters.size(), 2u);
  EXPECT_EQ(parameters[0].name, "in_layers.0.weight");
  EXPECT_EQ(parameters[1].name, "in_layers.0.bias");
  const Tensor x = uniform({2, 3, 5, 6}, 3, -0.005, 0.005);  // where another epsilon shows
  EXPECT_TRUE(same_bits(block.norm(x), group_norm(x, block.norm.weight, block.norm.bias, options)));
}

// In pieces, each by the statistics of the whole.
TEST(GroupNorm, PiecesByTheStatisticsOfTheWhole) {
  const Block block({.groups = 3, .eps = 1e-6, .act = silu_activation});
  for (const DType type : {DType::f32, DType::f64}) {
    const Tensor x = uniform({2, 4, 5, 6}, 3, -1, 3).to(type), y = empty_like(x), whole = block.norm(x);
    const Tensor stats = block.norm.stats(x);
    EXPECT_EQ(stats.shape(), (Shape{2, 3, 2}));
    for (const int64_t n : {0, 1})
      for (const int64_t row : {0, 2}) {
        const auto piece = [&](const Tensor& map) {
          return map.slice(n, n + 1).reshape({4, 5, 6}).slice(row, row + 2).reshape({1, 2, 5, 6});
        };
        block.norm.apply(piece(y), piece(x), stats.slice(n, n + 1));
      }
    EXPECT_LE(relative_l2(y, whole), type == DType::f64 ? 1e-14 : 3e-7);
  }
}

TEST(GroupNorm, SaysWhatDoesNotFitAndWhere) {
  const Block block({.groups = 4});
  const std::string groups = input_error([&] { block.norm(uniform({1, 2, 2, 6}, 1)); });
  EXPECT_HAS(groups, "group_norm: the channels of f32 cpu [1, 2, 2, 6] cannot be divided into 4 groups");
  EXPECT_HAS(groups, "in in_layers.0");
  const std::string channels = input_error([&] { block.norm(uniform({1, 2, 2, 8}, 1)); });
  EXPECT_HAS(channels, "group_norm: weight f32 cpu [6] and bias f32 cpu [6] do not fit the last axis of f32 cpu [1, 2, 2, 8]");
  EXPECT_HAS(input_error([&] { block.norm(Tensor::zeros({0, 2, 2, 6})); }), "that is not empty");
  const Tensor x = uniform({1, 2, 2, 8}, 1);
  EXPECT_HAS(input_error([&] { block.norm.stats(x); }), "expected [N, H, W, 6]\n  in in_layers.0");
  EXPECT_HAS(input_error([&] { block.norm.apply(x, x, Tensor::zeros({1, 4, 2})); }), "expected [N, H, W, 6]");
  const Tensor map = uniform({1, 2, 2, 6}, 1);
  EXPECT_HAS(input_error([&] { block.norm.apply(map, map, Tensor::zeros({1, 3, 2})); }), "expected [1, 4, 2]");
}

}  // namespace
}  // namespace relume::test
