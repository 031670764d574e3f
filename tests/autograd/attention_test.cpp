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

TEST(Attention, RefusalsNameWhatDoesNotFit) {
  struct Call {
    Tensor q = uniform({2, 5, 12}, 1), k = uniform({2, 7, 12}, 2), v = uniform({2, 7, 12}, 3);
    AttentionOptions options{.heads = 3};
  };
  const auto message = [](const std::function<void(Call&)>& spoil) {
    Call c;
    spoil(c);
    return input_error([&] { attention(c.q, c.k, c.v, c.options); });
  };
  Call fine;
  EXPECT_EQ(attention(fine.q, fine.k, fine.v, fine.options).shape(), fine.q.shape());
  EXPECT_HAS(message([](Call& c) { c.options.heads = 5; }),
             "queries f32 cpu [2, 5, 12] given; expected floats [N, L, C] with C");
  EXPECT_HAS(message([](Call& c) { c.q = uniform({2, 1, 5, 12}, 1); }), "expected floats [N, L, C]");
  EXPECT_HAS(message([](Call& c) {
               c.k = uniform({2, 7, 9}, 1);
             }),
             "keys f32 cpu [2, 7, 9], expected f32 cpu [2, S, 12] with S from 1 for queries f32 cpu [2, 5, 12]");
  EXPECT_HAS(message([](Call& c) { c.k = c.v = Tensor::empty({2, 0, 12}); }), "with S from 1");
  EXPECT_HAS(message([](Call& c) { c.k = c.k.to(DType::f64); }), "keys f64 cpu [2, 7, 12], expected f32");
  EXPECT_HAS(message([](Call& c) { c.v = uniform({2, 6, 12}, 1); }), "values f32 cpu [2, 6, 12] do not fit keys");
  EXPECT_HAS(message([](Call& c) { c.options.causal = true; }), "with 5 queries and 7 keys given; expected as many of both");
  EXPECT_HAS(input_error([] { self_attention(uniform({2, 5, 8}, 1), {}); }), "expected packed rows [N, L, 3*C]");
}

TEST(Attention, PackedIsTheSameAsThreeTensors) {
  const Tensor packed = uniform({2, 9, 36}, 4), dy = uniform({2, 9, 12}, 5), qkv = require_grad(packed);
  const AttentionOptions options{.heads = 2, .scale = 0.4, .causal = true};
  const Tensor one = self_attention(qkv, options);
  std::vector<Tensor> parts;
  for (int64_t i = 0; i < 3; ++i) parts.push_back(require_grad(packed.columns(12 * i, 12 * i + 12)));
  const Tensor three = attention(parts[0], parts[1], parts[2], options);
  EXPECT_TRUE(same_bits(one, three));
  backward(one, dy), backward(three, dy);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(same_bits(grad(qkv).columns(12 * i, 12 * i + 12).contiguous(), grad(parts[size_t(i)]))) << i;
}

}  // namespace
}  // namespace relume::test
