#include "models/vae.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/graph.h"
#include "autograd/reduce.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

AutoencoderConfig small() { return {.embed_dim = 3, .z_channels = 5, .ch = 32, .ch_mult = {1, 2}, .num_res_blocks = 1}; }

TEST(AutoencoderKL, SizesOfPicturesAndLatents) {
  const AutoencoderKL network(small());
  network.initialise(1);
  const NoGrad no_grad;
  EXPECT_EQ(network.config().reduction(), 2);
  EXPECT_EQ(AutoencoderConfig{}.reduction(), 8);
  EXPECT_EQ(network.encoder(uniform({1, 8, 12, 3}, 1)).shape(), (Shape{1, 4, 6, 10}));
  const DiagonalGaussian posterior = network.encode(uniform({2, 9, 12, 3}, 1));
  EXPECT_EQ(posterior.mean.shape(), (Shape{2, 4, 6, 3})) << "the ninth row is lost";
  EXPECT_EQ(posterior.logvar.shape(), posterior.mean.shape());
  EXPECT_EQ(network.decode(posterior.mean).shape(), (Shape{2, 8, 12, 3}));
}

TEST(AutoencoderKL, EverySampleOfABatchIsItsOwn) {
  const AutoencoderKL network(small());
  network.initialise(1);
  const NoGrad no_grad;
  const Tensor x = uniform({2, 8, 8, 3}, 1), both = network.moments(x);
  for (const int64_t n : {0, 1}) EXPECT_LT(relative_l2(network.moments(x.slice(n, n + 1)), both.slice(n, n + 1)), 1e-6) << n;
}

TEST(AutoencoderKL, AttentionWhereTheNominalSizeSaysSo) {
  AutoencoderConfig config = small();
  config.resolution = 64, config.attn_resolutions = {32};
  const AutoencoderKL network(config);
  const auto has = [&](const std::string& name) {
    return std::ranges::any_of(network.parameters(), [&](const NamedTensor& p) { return p.name == name; });
  };
  EXPECT_TRUE(has("encoder.down.1.attn.0.q.weight"));
  EXPECT_FALSE(has("encoder.down.0.attn.0.q.weight"));
  EXPECT_TRUE(has("decoder.up.1.attn.1.proj_out.bias"));
  EXPECT_FALSE(has("decoder.up.0.attn.0.q.weight"));
}

// What goes into blocks and norms, not what is made in blocks, and nothing of what frozen convolutions read.
TEST(AutoencoderKL, AGradientOfPicturesKeepsLittle) {
  AutoencoderConfig config = small();
  config.num_res_blocks = 4;
  const AutoencoderKL network(config);
  network.initialise(1);
  network.set_trainable(false);
  Allocator& pool = allocator({});
  const int64_t before = pool.bytes_in_use();
  const Tensor latents = require_grad(uniform({1, 32, 32, 3}, 1)), picture = network.decode(latents);
  const double map = 64 * 64 * 32 * sizeof(float), kept = double(pool.bytes_in_use() - before) / map;
  EXPECT_LT(kept, 16) << "maps of the picture's size: 22 with all that is made in blocks";
  backward(sum(picture));
  EXPECT_GT(relative_l2(grad(latents), Tensor::zeros(latents.shape())), 0);
}

TEST(DiagonalGaussian, MomentsSamplesAndDivergence) {
  const double four = std::log(4.0);
  const DiagonalGaussian d(Tensor::of<double>({2, 1, 1, 4}, {1, -2, four, 0, 0, 0, 0, 0}));
  EXPECT_TRUE(same_bits(d.mean.contiguous(), Tensor::of<double>({2, 1, 1, 2}, {1, -2, 0, 0})));
  EXPECT_LT(largest_difference(d.deviation(), Tensor::of<double>({2, 1, 1, 2}, {2, 1, 1, 1})), 1e-15);
  const Tensor noise = Tensor::of<double>({2, 1, 1, 2}, {0.5, -1, 3, 0});
  EXPECT_LT(largest_difference(d.sample(noise), Tensor::of<double>({2, 1, 1, 2}, {2, -3, 3, 0})), 1e-15);
  const double first = 0.5 * (1 + 4 - 1 - four) + 0.5 * (4 + 1 - 1 - 0);
  EXPECT_LT(largest_difference(d.divergence(), Tensor::of<double>({2}, {first, 0})), 1e-14);
}

TEST(DiagonalGaussian, LogarithmsOfVariancesAreHeldWithinBounds) {
  const Tensor moments = require_grad(Tensor::of<double>({1, 1, 1, 8}, {0, 0, 0, 0, -31, -30, 20, 21}));
  const DiagonalGaussian d(moments);
  EXPECT_TRUE(same_bits(d.logvar, Tensor::of<double>({1, 1, 1, 4}, {-30, -30, 20, 20})));
  backward(d.logvar, Tensor::full({1, 1, 1, 4}, 1, DType::f64));
  EXPECT_TRUE(same_bits(grad(moments), Tensor::of<double>({1, 1, 1, 8}, {0, 0, 0, 0, 0, 1, 1, 0})));
}

TEST(AutoencoderKL, RefusesWhatItCannotDo) {
  EXPECT_HAS(input_error([] { AutoencoderKL{AutoencoderConfig{.ch = 48}}; }), "level 0 has 48 channels, no multiple of the 32");
  EXPECT_HAS(input_error([] { AutoencoderKL{AutoencoderConfig{.ch_mult = {}}}; }), "ch_mult has 0 entries");
  EXPECT_HAS(input_error([] { AutoencoderKL{AutoencoderConfig{.resolution = 100, .attn_resolutions = {25}}}; }),
             "a multiple of 8; it is 100");
  const AutoencoderKL network(small());
  EXPECT_HAS(input_error([&] { network.encode(Tensor::zeros({1, 8, 8, 4})); }), "expected [N, H, W, 3]");
  EXPECT_HAS(input_error([&] { network.encode(Tensor::zeros({1, 1, 8, 3})); }), "smaller than one latent");
  EXPECT_HAS(input_error([&] { network.decode(Tensor::zeros({1, 4, 4, 5})); }), "expected [N, h, w, 3]");
}

}  // namespace
}  // namespace relume::test
