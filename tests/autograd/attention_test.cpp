#include "autograd/attention.h"

#include <functional>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(ResidualWindowAttention, RefusalsNameWhatDoesNotFit) {
  struct Call {
    Tensor x = uniform({1, 8, 8, 8}, 1), sample_scale;
    WindowAttentionParameters p{{Tensor::zeros({8}), Tensor::zeros({8})},
                                Tensor::zeros({24, 8}),
                                Tensor::zeros({24}),
                                Tensor::zeros({49, 2}),
                                Tensor::zeros({8, 8}),
                                Tensor::zeros({8}),
                                {.heads = 2, .window = 4, .shift = 2}};
  };
  const auto message = [](const std::function<void(Call&)>& spoil) {
    Call c;
    spoil(c);
    return input_error([&] { residual_window_attention(c.x, c.p, c.sample_scale); });
  };
  Call fine;
  EXPECT_EQ(residual_window_attention(fine.x, fine.p).shape(), fine.x.shape());
  EXPECT_HAS(message([](Call& c) { c.p.options.window = 5; }), "cannot be cut into windows of 5 x 5; pad it");
  EXPECT_HAS(message([](Call& c) { c.p.options.shift = 4; }), "shift 4 given; expected");
  EXPECT_HAS(message([](Call& c) { c.p.options.heads = 3; }), "C a multiple of 3 heads");
  EXPECT_HAS(message([](Call& c) { c.p.table = Tensor::zeros({9, 2}); }), "table f32 cpu [9, 2], expected f32 [49, 2]");
  EXPECT_HAS(message([](Call& c) { c.p.qkv_weight = {}; }), "qkv weight undefined, expected f32 [24, 8]");
  EXPECT_HAS(message([](Call& c) { c.p.norm.bias = Tensor::zeros({8}, DType::f64); }),
             "norm bias f64 cpu [8], expected f32 [8]");
  EXPECT_HAS(message([](Call& c) { c.p.proj_bias = Tensor::zeros({7}); }), "projection bias f32 cpu [7]");
  EXPECT_HAS(message([](Call& c) { c.sample_scale = Tensor::zeros({2}); }), "sample_scale f32 cpu [2], expected f32 [1]");
  EXPECT_HAS(message([](Call& c) { c.x = uniform({8, 8, 8}, 1); }), "expected [N, H, W, C]");
}

}  // namespace
}  // namespace relume::test
