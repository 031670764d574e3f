#include "models/control_ldm.h"

#include <gtest/gtest.h>

#include "autograd/graph.h"
#include "models/autoencoder_tiles.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

Tensor rows_of(const Tensor& a, const Tensor& b) {
  const Tensor both = Tensor::empty(a.shape().with(0, a.shape(0) + b.shape(0)));
  both.slice(0, a.shape(0)).copy_from(a);
  both.slice(a.shape(0), both.shape(0)).copy_from(b);
  return both;
}

class ControlLdmTest : public testing::Test {
 protected:
  const std::unique_ptr<ControlLdm> networks_ = small_control_ldm();
  const Tensor states_ = [] {
    const NoGrad no_grad;
    return (*small_text_encoder())(Tensor::of<int64_t>({2, 5}, {48, 3, 17, 49, 0, 48, 5, 49, 0, 0}));
  }();
  const Tensor x_ = uniform({1, 4, 6, 4}, 1), condition_ = uniform({1, 4, 6, 4}, 2);
};

// Both texts at once give what each gives by itself, for the same latents and condition.
TEST_F(ControlLdmTest, ATextSeesItsOwnSamplesAlone) {
  const NoGrad no_grad;
  const TextCondition both = networks_->texts(states_), first = networks_->texts(states_.slice(0, 1)),
                      second = networks_->texts(states_.slice(1, 2));
  const Tensor y = networks_->predict(rows_of(x_, x_), 500, condition_, both, 1);
  EXPECT_LE(relative_l2(y.slice(0, 1), networks_->predict(x_, 500, condition_, first, 1)), 1e-6);
  EXPECT_LE(relative_l2(y.slice(1, 2), networks_->predict(x_, 500, condition_, second, 1)), 1e-6);
  EXPECT_GT(relative_l2(y.slice(0, 1), y.slice(1, 2)), 1e-4);
  EXPECT_TRUE(same_bits(networks_->predict(x_, 500, condition_, both, 1), networks_->predict(x_, 500, condition_, first, 1)));
}

TEST_F(ControlLdmTest, StrengthScalesTheControl) {
  const NoGrad no_grad;
  const TextCondition text = networks_->texts(states_);
  const auto with = [&](double strength) { return networks_->predict(x_, 500, condition_, text, strength); };
  const Tensor times = Tensor::full({1}, 500, DType::f32);
  const TextCondition first = networks_->texts(states_.slice(0, 1));
  EXPECT_TRUE(same_bits(with(0), networks_->unet(x_, times, first.unet)));
  EXPECT_GT(relative_l2(with(0.5), with(0)), 1e-3);
  EXPECT_GT(relative_l2(with(1), with(0.5)), 1e-3);
}

TEST_F(ControlLdmTest, LatentsAreScaled) {
  const NoGrad no_grad;
  const Tensor pictures = uniform({2, 16, 24, 3}, 3, -1, 1), latents = networks_->encode(pictures);
  EXPECT_EQ(latents.shape(), Shape({2, 2, 3, 4}));
  const Tensor mean = networks_->vae.encode(pictures).mean;
  for (int64_t i = 0; i < latents.numel(); ++i)
    EXPECT_NEAR(latents.data<float>()[i], 0.18215 * mean.contiguous().data<float>()[i], 1e-6);
  EXPECT_LE(relative_l2(networks_->decode(latents), networks_->vae.decode(mean.contiguous())), 1e-5);
}

// Scaled, and computed in the networks' type, as the whole is.
TEST_F(ControlLdmTest, TilesOfTheAutoencoder) {
  const NoGrad no_grad;
  const Tensor pictures = uniform({1, 104, 136, 3}, 3, -1, 1), latents = uniform({1, 34, 27, 4}, 4);
  const double factor = networks_->config().latent_scale_factor;
  const Tensor encoded = networks_->encode(pictures, 32), decoded = networks_->decode(latents, 8);
  const Tensor mean = DiagonalGaussian(moments_in_tiles(networks_->vae, pictures, 32)).mean;
  EXPECT_TRUE(same_bits(encoded, scale(mean, factor)));
  EXPECT_TRUE(same_bits(decoded, decoded_in_tiles(networks_->vae, scale(latents, 1 / factor), 8)));
  EXPECT_GT(relative_l2(decoded, networks_->decode(latents)), 1e-5) << "the reference's tiles are an approximation";
  networks_->set_compute_type(DType::bf16);
  const Tensor coarse = networks_->decode(latents, 8);
  EXPECT_EQ(coarse.dtype(), DType::f32);
  EXPECT_LE(relative_l2(coarse, decoded), 0.05);
  EXPECT_GT(relative_l2(coarse, decoded), 1e-4);
  EXPECT_LE(relative_l2(networks_->encode(pictures, 32), encoded), 0.05);
}

TEST_F(ControlLdmTest, WhatDoesNotFitIsNamed) {
  const TextCondition text = networks_->texts(states_.slice(0, 1));
  EXPECT_HAS(input_error([&] { networks_->predict(rows_of(x_, x_), 1, condition_, text, 1); }), "1 texts");
  ControlLdmConfig other = small_control_ldm_config();
  other.text.width = 24;
  EXPECT_HAS(input_error([&] { ControlLdm{other}; }), "context_dim");
  other = small_control_ldm_config();
  other.vae.embed_dim = 8;
  EXPECT_HAS(input_error([&] { ControlLdm{other}; }), "embed_dim");
}

}  // namespace
}  // namespace relume::test
