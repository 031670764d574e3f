#include "infer/refine_cost.h"

#include <gtest/gtest.h>

#include "autograd/graph.h"
#include "autograd/reduce.h"
#include "models/control_net.h"
#include "models/unet.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

// What networks of twice the channels take on a larger map, as the pool counts it, against what was told of them: with heads
// that a narrow network has too, and with larger ones.
class RefineCostOfHeads : public testing::TestWithParam<int> {};

TEST_P(RefineCostOfHeads, TellsWhatTheNetworksTake) {
  const NoGrad no_grad;
  StageTwoConfig config;
  config.networks = small_control_ldm_config();
  config.networks.control.unet.model_channels = 64;
  config.networks.control.unet.num_head_channels = GetParam();
  const RefineCost cost = measure_refine_cost(config, {}, DType::f32);
  const UNetConfig& c = config.networks.control.unet;
  const UNet unet(c);
  const ControlNet control_net(config.networks.control);
  randomise(unet, 1), randomise(control_net, 2);
  unet.set_trainable(false), control_net.set_trainable(false);
  const Tensor x = Tensor::zeros({2, 32, 48, 4}), text = Tensor::zeros({2, 77, c.context_dim}), times = Tensor::full({2}, 1);
  const auto of_unet = unet.keys_and_values(text), of_control = control_net.keys_and_values(text);
  Allocator& pool = allocator({});
  const auto run = [&] {
    pool.reset_peak();
    const int64_t before = pool.peak_bytes();
    unet(x, times, of_unet, {.maps = control_net(x, x, times, of_control), .strengths = {}});
    return double(pool.peak_bytes() - before);
  };
  run(), run();
  const double taken = run(), told = cost.denoiser_bytes(8 * 32 * 8 * 48);
  EXPECT_GE(told, taken);
  EXPECT_LE(told, 2 * taken);
  config.cfg_scale = 1;
  EXPECT_LT(measure_refine_cost(config, {}, DType::f32).bytes_per_pixel, 0.6 * cost.bytes_per_pixel) << "one text alone";
}

INSTANTIATE_TEST_SUITE_P(Channels, RefineCostOfHeads, testing::Values(16, 64), testing::PrintToStringParamName());

TEST(RefineCost, TellsWhatGuidanceTakes) {
  StageTwoConfig config;
  config.networks = small_control_ldm_config();
  config.networks.vae.ch = 64;
  config.guidance.loss = "mse", config.guidance.space = "rgb";
  const RefineCost cost = measure_refine_cost(config, {}, DType::f32);
  const AutoencoderKL vae(config.networks.vae);
  randomise(vae, 1);
  vae.set_trainable(false);
  Allocator& pool = allocator({});
  const auto run = [&] {
    const Tensor latents = require_grad(Tensor::zeros({1, 24, 32, 4}));
    pool.reset_peak();
    const int64_t before = pool.peak_bytes();
    backward(sum(vae.decode(latents)));
    return double(pool.peak_bytes() - before);
  };
  run();
  const double taken = run(), told = cost.autoencoder_bytes(8 * 24 * 8 * 32);
  EXPECT_GE(told, taken);
  EXPECT_LE(cost.guidance_fixed_bytes + cost.guidance_bytes_per_pixel * 8 * 24 * 8 * 32, 1.5 * taken);
  config.guidance.space = "latent";
  EXPECT_EQ(measure_refine_cost(config, {}, DType::f32).guidance_bytes_per_pixel, 0) << "no gradient";
}

}  // namespace
}  // namespace relume::test
