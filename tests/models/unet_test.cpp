#include "models/unet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "layers/init.h"
#include "models/control_net.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

// Two levels, transformers at both.
UNetConfig tiny() {
  return {.model_channels = 32,
          .channel_mult = {1, 2},
          .num_res_blocks = 1,
          .attention_resolutions = {1, 2},
          .num_head_channels = 16,
          .context_dim = 12};
}
UNetConfig with_options() {
  UNetConfig c = tiny();
  c.transformer_depth = 2;
  c.use_linear_in_transformer = false;
  c.use_scale_shift_norm = c.resblock_updown = true;
  return c;
}

struct Networks {
  UNet unet{tiny()};
  ControlNet control_net{{.unet = tiny()}};
  Networks() { randomise(unet, 1), randomise(control_net, 2); }
};

struct Inputs {
  Tensor x, hint, t, context;
};
Inputs inputs(int64_t samples = 2) {
  return {uniform({samples, 4, 6, 4}, 1), uniform({samples, 4, 6, 4}, 2), uniform({samples}, 3, 0, 999),
          uniform({samples, 5, 12}, 4)};
}

UNetControl control_of(const ControlNet& network, const Inputs& in) {
  return {network(in.x, in.hint, in.t, network.keys_and_values(in.context)), {}};
}
Tensor run(const UNet& unet, const Inputs& in, const UNetControl& control = {}) {
  return unet(in.x, in.t, unet.keys_and_values(in.context), control);
}

TEST(TimestepEmbedding, CosinesThenSinesOfFallingFrequencies) {
  const Tensor e = timestep_embedding(Tensor::of<float>({2}, {0, 2.5}), 5);
  const float* v = e.data<float>();
  EXPECT_EQ(std::vector<float>(v, v + 5), (std::vector<float>{1, 1, 0, 0, 0}));
  const double expected[] = {std::cos(2.5), std::cos(0.025), std::sin(2.5), std::sin(0.025), 0};
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(v[5 + i], expected[i], 1e-6) << i;
  EXPECT_HAS(input_error([] { timestep_embedding(Tensor::of<int64_t>({1}, {3}), 8); }), "expected f32 [N] on the CPU");
}

TEST(UNet, AFreshControlNetworkChangesNothing) {
  const NoGrad no_grad;
  const Networks n;
  n.control_net.initialise(3);
  n.control_net.initialise_from(n.unet);
  const UNetControl control = control_of(n.control_net, inputs());
  ASSERT_EQ(control.maps.size(), 5u);
  for (const Tensor& map : control.maps) EXPECT_EQ(largest_difference(map, zeros_like(map)), 0);
  EXPECT_TRUE(same_bits(run(n.unet, inputs(), control), run(n.unet, inputs())));
}

TEST(UNet, AtTheStartOnlyTheZeroConvolutionsLearn) {
  const Networks n;
  n.control_net.initialise(3);
  const Tensor eps = run(n.unet, inputs(), control_of(n.control_net, inputs()));
  backward(sum_squared_error(eps, zeros_like(eps)));
  for (const NamedTensor& p : n.control_net.parameters()) {
    const bool zero_conv = p.name.starts_with("zero_convs.") || p.name.starts_with("middle_block_out.");
    const Tensor g = grad(p.tensor);
    ASSERT_TRUE(g) << p.name;
    EXPECT_EQ(largest_difference(g, zeros_like(g)) > 0, zero_conv) << p.name;
  }
}

TEST(UNet, StrengthScalesTheControlMaps) {
  const NoGrad no_grad;
  const Networks n;
  const Inputs in = inputs();
  UNetControl control = control_of(n.control_net, in), scaled = control;
  control.strengths = {0.5, 0, 1, 0.25, 2};
  for (size_t i = 0; i < scaled.maps.size(); ++i) scaled.maps[i] = scale(scaled.maps[i], control.strengths[i]);
  const Tensor eps = run(n.unet, in, control);
  EXPECT_LE(relative_l2(eps, run(n.unet, in, scaled)), 1e-6);
  EXPECT_GT(relative_l2(eps, run(n.unet, in)), 0.01);
  control.strengths.assign(5, 0);
  EXPECT_TRUE(same_bits(run(n.unet, in, control), run(n.unet, in)));
}

TEST(UNet, SamplesOfABatchDoNotMeet) {
  const NoGrad no_grad;
  const Networks n;
  const Inputs both = inputs(2);
  const Tensor together = run(n.unet, both, control_of(n.control_net, both));
  for (int64_t i = 0; i < 2; ++i) {
    const Inputs one{both.x.slice(i, i + 1), both.hint.slice(i, i + 1), both.t.slice(i, i + 1), both.context.slice(i, i + 1)};
    EXPECT_LE(relative_l2(run(n.unet, one, control_of(n.control_net, one)), together.slice(i, i + 1)), 2e-6) << i;
  }
}

TEST(UNet, CheckpointedEqualsPlain) {
  Networks n;
  std::vector<std::vector<Tensor>> results;
  for (const bool checkpointing : {false, true}) {
    n.unet.set_activation_checkpointing(checkpointing);
    n.control_net.set_activation_checkpointing(checkpointing);
    Inputs in = inputs();
    in.x = require_grad(in.x), in.hint = require_grad(in.hint), in.context = require_grad(in.context);
    const Tensor eps = run(n.unet, in, control_of(n.control_net, in));
    backward(sum_squared_error(eps, uniform(eps.shape(), 9)));
    std::vector<Tensor> all{eps.detach(), grad(in.x), grad(in.hint), grad(in.context)};
    for (const Module* network : {static_cast<const Module*>(&n.unet), static_cast<const Module*>(&n.control_net)})
      for (const NamedTensor& p : network->parameters()) {
        all.push_back(grad(p.tensor).clone());
        clear_grad(p.tensor);
      }
    results.push_back(std::move(all));
  }
  ASSERT_EQ(results[0].size(), results[1].size());
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << i;
}

// The reference numbers of the options are outputs alone.
TEST(UNet, GradientsOfTheOptionsAgreeWithDifferences) {
  UNet unet(with_options());
  randomise(unet, 5);
  Inputs in = inputs();
  const Tensor direction = uniform(in.x.shape(), 6), along_context = uniform(in.context.shape(), 7);
  const Tensor target = uniform(in.x.shape(), 8);
  const auto loss_at = [&](double step) {
    const NoGrad no_grad;
    Inputs moved = in;
    moved.x = add(in.x, scale(direction, step)), moved.context = add(in.context, scale(along_context, step));
    return sum_squared_error(run(unet, moved), target).item();
  };
  const double step = 1e-2, slope = (loss_at(step) - loss_at(-step)) / (2 * step);
  in.x = require_grad(in.x), in.context = require_grad(in.context);
  backward(sum_squared_error(run(unet, in), target));
  const double expected = sum(mul(grad(in.x), direction)).item() + sum(mul(grad(in.context), along_context)).item();
  EXPECT_NEAR(slope, expected, 2e-3 * std::abs(expected));
  for (const NamedTensor& p : unet.parameters()) EXPECT_TRUE(grad(p.tensor)) << p.name;
}

TEST(UNet, SixteenBitsAreNearThirtyTwo) {
  const NoGrad no_grad;
  Networks n;
  const Inputs in = inputs();
  const Tensor exact = run(n.unet, in, control_of(n.control_net, in));
  n.unet.set_compute_type(DType::bf16), n.control_net.set_compute_type(DType::bf16);
  const UNetControl control = control_of(n.control_net, in);
  EXPECT_EQ(control.maps[0].dtype(), DType::bf16);
  const Tensor narrow = run(n.unet, in, control);
  EXPECT_EQ(narrow.dtype(), DType::f32);
  const double error = relative_l2(narrow, exact);
  EXPECT_LE(error, 0.05);
  EXPECT_GT(error, 1e-4) << "was it computed in 16 bits?";
}

TEST(UNet, FreshPredictionsAreZero) {
  const NoGrad no_grad;
  const UNet unet(with_options());
  unet.initialise(1);
  const Tensor eps = run(unet, inputs());
  EXPECT_EQ(largest_difference(eps, zeros_like(eps)), 0);
}

TEST(UNetRefusal, ConfigurationsThatContradictThemselves) {
  const auto message = [](void (*change)(UNetConfig&)) {
    UNetConfig c = tiny();
    change(c);
    return input_error([&] { UNet network(c); });
  };
  EXPECT_HAS(message([](UNetConfig& c) { c.channel_mult = {}; }), "channel_mult has 0 entries; expected 1 to 12 levels");
  EXPECT_HAS(message([](UNetConfig& c) { c.model_channels = 48; }),
             "model_channels 48 is no multiple of the 32 groups of the norms");
  EXPECT_HAS(message([](UNetConfig& c) { c.num_head_channels = 24; }),
             "level 0: 32 channels are no multiple of num_head_channels 24");
}

TEST(UNetRefusal, InputsThatDoNotFit) {
  const NoGrad no_grad;
  const Networks n;
  const Inputs good = inputs();
  const auto message = [&](void (*change)(Inputs&)) {
    Inputs in = good;
    change(in);
    return input_error([&] { run(n.unet, in); });
  };
  EXPECT_HAS(message([](Inputs& in) { in.x = Tensor::zeros({2, 4, 6, 3}); }), "UNet: latents f32 cpu [2, 4, 6, 3] given");
  EXPECT_HAS(message([](Inputs& in) { in.x = Tensor::zeros({2, 4, 5, 4}); }), "are no multiple of 2; pad them");
  EXPECT_HAS(message([](Inputs& in) { in.t = Tensor::zeros({3}); }), "expected one for each of 2 samples");
  EXPECT_HAS(message([](Inputs& in) { in.context = Tensor::zeros({1, 5, 12}); }), "a text for 1 samples given, expected 2");
  EXPECT_HAS(message([](Inputs& in) {
               in.context = Tensor::zeros({2, 5, 13});
             }),
             "in input_blocks.1.1.transformer_blocks.0.attn2.to_k");
  EXPECT_HAS(input_error([&] { n.unet(good.x, good.t, {}); }), "keys and values of 0 cross attentions given, expected 7");
  UNetControl control = control_of(n.control_net, good);
  control.strengths = {1};
  EXPECT_HAS(input_error([&] { run(n.unet, good, control); }), "1 strengths given for 5 control maps");
  control.maps.pop_back();
  EXPECT_HAS(input_error([&] { run(n.unet, good, control); }), "4 control maps given, expected 5");
  EXPECT_HAS(input_error([&] {
               const auto text = n.control_net.keys_and_values(good.context);
               n.control_net(good.x, Tensor::zeros({2, 2, 3, 4}), good.t, text);
             }),
             "ControlNet: condition f32 cpu [2, 2, 3, 4] given");
}

TEST(UNetRefusal, AControlNetworkOfAnotherUNet) {
  UNetConfig wide = tiny();
  wide.context_dim = 20;
  const UNet unet(wide);
  const ControlNet control_net({.unet = tiny()});
  EXPECT_HAS(input_error([&] { control_net.initialise_from(unet); }), "[32, 20] in the U-Net, expected [32, 12]");
}

}  // namespace
}  // namespace relume::test
