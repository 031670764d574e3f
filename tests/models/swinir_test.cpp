#include "models/swinir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "autograd/reduce.h"
#include "base/files.h"
#include "base/text.h"
#include "layers/drop_path.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

// Two groups of two blocks on a map of two by two windows: shifts, masks and stochastic depth all occur.
SwinIRConfig tiny() {
  return {.img_size = 8,
          .embed_dim = 8,
          .depths = {2, 2},
          .num_heads = {2, 2},
          .window_size = 4,
          .sf = 2,
          .unshuffle_scale = 2,
          .drop_path_rate = 0.4};
}
SwinIRConfig residual() {
  SwinIRConfig config = test::small_network();
  config.drop_path_rate = 0;
  return config;
}

DropPathSource seeded_draws(uint64_t seed) {
  return [draws = DropPathDraws{.seed = seed}](int branch, double probability, int64_t samples) {
    return drop_path_scale(draws, branch, probability, samples);
  };
}

std::unique_ptr<SwinIR> initialised(const SwinIRConfig& config, uint64_t seed = 1) {
  auto network = std::make_unique<SwinIR>(config);
  network->initialise(seed);
  return network;
}

Tensor run(const SwinIR& network, const Tensor& x) {
  const NoGrad no_grad;
  return network(x);
}

std::string line_of(const NamedTensor& t, const char* kind) {
  std::ostringstream line;
  line << t.name << " " << t.tensor.shape() << " " << t.tensor.dtype() << " " << kind;
  return line.str();
}

// The list was taken from the published constructor: name, shape as stored, type and kind, in the order of its state_dict.
TEST(SwinIRContract, StateEqualsThePublishedCheckpoint) {
  std::vector<std::string> published = split(read_file(source_folder() / "tests/fixtures/swinir_names.txt"), '\n');
  std::erase(published, "");
  ASSERT_EQ(published.size(), 732u);
  const SwinIR network{SwinIRConfig{}};
  EXPECT_EQ(network.parameter_count(), 15792587);
  const std::vector<NamedTensor> state = stored_state(network);
  ASSERT_EQ(state.size(), 732u);
  std::vector<std::string> ours;
  for (size_t i = 0; i < state.size(); ++i)
    ours.push_back(line_of(state[i], i < network.parameters().size() ? "param" : "buffer"));

  // Optimiser states number the parameters in this order.
  const auto parameters_only = [](std::vector<std::string> lines) {
    std::erase_if(lines, [](const std::string& line) { return line.ends_with("buffer"); });
    return lines;
  };
  EXPECT_EQ(parameters_only(ours), parameters_only(published));
  std::ranges::sort(ours);
  std::ranges::sort(published);
  EXPECT_EQ(ours, published);
}

TEST(SwinIRContract, SizesFollowFromTheConfiguration) {
  const SwinIR paper{SwinIRConfig{}};
  EXPECT_EQ(paper.size_multiple(), 64);
  EXPECT_EQ(paper.padding_multiple(), 64);
  EXPECT_EQ(paper.output_scale(), 1);
  const SwinIR between{residual()};
  EXPECT_EQ(between.size_multiple(), 2);
  EXPECT_EQ(between.padding_multiple(), 8);
  SwinIRConfig enlarging = tiny();
  enlarging.unshuffle = false;
  const SwinIR network(enlarging);
  EXPECT_EQ(network.size_multiple(), 1);
  EXPECT_EQ(network.output_scale(), 2);
  network.initialise(1);
  EXPECT_EQ(run(network, uniform({1, 6, 9, 3}, 1, 0, 1)).shape(), (Shape{1, 12, 18, 3}));
}

TEST(SwinIRRefusal, ConfigurationsThatContradictThemselves) {
  const struct {
    void (*change)(SwinIRConfig&);
    const char* message;
  } cases[] = {
      {[](SwinIRConfig& c) { c.num_heads = {2}; }, "depths has 2 entries, num_heads 1; expected a head count for every group"},
      {[](SwinIRConfig& c) { c.depths = {}; }, "depths has 0 entries"},
      {[](SwinIRConfig& c) {
         c.num_heads = {2, 3};
       },
       "embed_dim 8 is no multiple of 3 heads"},
      {[](SwinIRConfig& c) { c.patch_size = 3; }, "img_size 8 is no multiple of patch_size 3"},
      {[](SwinIRConfig& c) { c.img_size = 10; }, "img_size / patch_size 10 is no multiple of window_size 4"},
      {[](SwinIRConfig& c) { c.mlp_ratio = 0.1; }, "mlp_ratio 0.1 leaves no hidden channel"},
      {[](SwinIRConfig& c) { c.unshuffle_scale = 4; },
       "unshuffle needs unshuffle_scale equal to sf, and an upsampler that undoes it"},
      {[](SwinIRConfig& c) { c.upsampler = ""; }, "unshuffle needs unshuffle_scale equal to sf, and an upsampler"},
      {[](SwinIRConfig& c) { c.sf = c.unshuffle_scale = 6; }, "nearest+conv needs sf 2, 4, 8, ...; sf is 6"},
      {[](SwinIRConfig& c) { c.unshuffle = false, c.upsampler = "pixelshuffle", c.sf = 5; },
       "pixelshuffle needs sf 2, 3, 4, 8, ...; sf is 5"},
      {[](SwinIRConfig& c) { c.unshuffle = false, c.upsampler = ""; }, "without upsampler sf must be 1; it is 2"},
      {[](SwinIRConfig& c) { c.embed_dim = 2, c.resi_connection = "3conv"; },
       "resi_connection 3conv needs embed_dim of at least 4"},
      {[](SwinIRConfig& c) { c.outer_unshuffle = 2; }, "in_chans to be a multiple of 4; it is 3"},
  };
  tiny().validate();
  residual().validate();
  for (const char* upsampler : {"pixelshuffle", "pixelshuffledirect"}) {
    SwinIRConfig config = tiny();
    config.upsampler = upsampler;
    const auto network = initialised(config);
    EXPECT_EQ(run(*network, Tensor::zeros({1, 8, 16, 3})).shape(), (Shape{1, 8, 16, 3})) << upsampler;
  }
  for (const auto& c : cases) {
    SwinIRConfig config = tiny();
    c.change(config);
    EXPECT_HAS(input_error([&] { config.validate(); }), c.message);
    EXPECT_HAS(input_error([&] { SwinIR network(config); }), c.message);
  }
}

TEST(SwinIRRefusal, PicturesThatDoNotFit) {
  const auto network = initialised(tiny()), between = initialised(residual());
  EXPECT_HAS(input_error([&] { run(*network, Tensor::zeros({1, 8, 16, 4})); }), "[1, 8, 16, 4] given, expected [N, H, W, 3]");
  EXPECT_HAS(input_error([&] { run(*network, Tensor::zeros({8, 8, 3})); }), "expected [N, H, W, 3]");
  EXPECT_HAS(input_error([&] {
               run(*network, Tensor::zeros({1, 8, 12, 3}));
             }),
             "pictures [1, 8, 12, 3] are no multiple of 8; pad them");
  EXPECT_HAS(input_error([&] { run(*between, Tensor::zeros({1, 8, 9, 3})); }), "are no multiple of 2; pad them");
  EXPECT_HAS(input_error([&] { run(*between, Tensor::zeros({1, 8, 8, 12})); }), "expected [N, H, W, 3]");
  EXPECT_HAS(input_error([&] { run(*between, Tensor::zeros({1, 2, 8, 3})); }), "the picture is too small");
  EXPECT_HAS(input_error([&] { run(*network, Tensor::zeros({1, 8, 8, 3}, DType::u8)); }), "u8");
  SwinIRConfig positions = tiny();
  positions.ape = true;
  const auto embedded = initialised(positions);
  EXPECT_HAS(input_error([&] {
               run(*embedded, Tensor::zeros({1, 8, 16, 3}));
             }),
             "the absolute position embedding fits maps of 64 pixels");
}

TEST(SwinIRRefusal, TrainingModeWithoutDraws) {
  const auto network = initialised(tiny());
  network->set_training(true);
  EXPECT_HAS(input_error([&] { run(*network, uniform({1, 16, 16, 3}, 1, 0, 1)); }), "training mode needs a source of draws");
  network->set_training(false);
  run(*network, uniform({1, 16, 16, 3}, 1, 0, 1));
}

TEST(SwinIR, StartsAsTheIdentityBetweenAnUnshuffleAndAShuffle) {
  const auto network = initialised(residual());
  for (const Shape& shape : {Shape{2, 16, 24, 3}, Shape{1, 10, 14, 3}}) {  // windows that fit, and that need padding
    const Tensor x = uniform(shape, 1, 0, 1);
    EXPECT_EQ(largest_difference(run(*network, x), x), 0) << shape;
  }
}

TEST(SwinIR, InitialisationFollowsTheReference) {
  const auto network = initialised(tiny(), 3), again = initialised(tiny(), 3), other = initialised(tiny(), 4);
  const std::vector<NamedTensor> a = network->parameters(), b = again->parameters(), c = other->parameters();
  int64_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same_bits(a[i].tensor, b[i].tensor)) << a[i].name;
    different += !same_bits(a[i].tensor, c[i].tensor);
    const Tensor zero = zeros_like(a[i].tensor);
    const double largest = largest_difference(a[i].tensor, zero);
    if (a[i].name.find("norm") != std::string::npos)
      EXPECT_EQ(largest_difference(a[i].tensor, Tensor::full(a[i].tensor.shape(), a[i].name.ends_with("weight") ? 1 : 0)), 0)
          << a[i].name;
    else if (a[i].name.ends_with("bias") && a[i].name.find("blocks") != std::string::npos)
      EXPECT_EQ(largest, 0) << a[i].name << ": biases of linear layers";
    else if (a[i].name.ends_with("bias") || a[i].tensor.rank() == 4)
      EXPECT_GT(largest, 0) << a[i].name << ": convolutions, PyTorch's default";
    else
      EXPECT_NEAR(relative_l2(a[i].tensor, zero) / std::sqrt(double(a[i].tensor.numel())), 0.02, 0.005) << a[i].name;
  }
  EXPECT_GT(different, int64_t(a.size()) / 3);
}

TEST(SwinIR, ABatchEqualsItsPicturesOneByOne) {
  for (const SwinIRConfig& config : {tiny(), residual()}) {
    SwinIRConfig learnt = config;
    learnt.zero_last = false;
    const auto network = initialised(learnt);
    const Tensor x = uniform({2, 16, 24, 3}, 2, 0, 1), both = run(*network, x);
    for (int64_t i = 0; i < 2; ++i) EXPECT_LT(relative_l2(run(*network, x.slice(i, i + 1)), both.slice(i, i + 1)), 1e-6) << i;
    EXPECT_GT(relative_l2(both.slice(0, 1), both.slice(1, 2)), 1e-3);
  }
}

TEST(SwinIR, EvaluationModeDropsNothing) {
  SwinIRConfig config = tiny();
  const auto network = initialised(config);
  network->set_drop_path(seeded_draws(1));
  const Tensor x = uniform({2, 16, 16, 3}, 1, 0, 1), y = run(*network, x);
  network->set_training(true);
  EXPECT_FALSE(same_bits(run(*network, x), y));
  network->set_training(false);
  config.drop_path_rate = 0;
  EXPECT_TRUE(same_bits(run(*initialised(config), x), y));
}

TEST(SwinIR, DropPathAsksForEveryBranchWithItsRate) {
  const auto network = initialised(tiny());
  std::vector<std::pair<int, double>> asked;
  network->set_drop_path([&](int branch, double probability, int64_t samples) {
    asked.emplace_back(branch, probability);
    return Tensor::full({samples}, 1);
  });
  network->set_training(true);
  run(*network, uniform({3, 16, 16, 3}, 1, 0, 1));
  ASSERT_EQ(asked.size(), 6u) << "the first block never drops";
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(asked[i].first, int(i) + 2);
    EXPECT_NEAR(asked[i].second, 0.4 * double((i + 2) / 2) / 3, 1e-12) << "from 0 to drop_path_rate in equal steps";
  }
}

TEST(SwinIR, ActivationCheckpointingChangesNoBit) {
  const auto results = [](bool checkpointing) {
    const auto network = initialised(tiny());
    network->set_training(true);
    network->set_drop_path(seeded_draws(9));
    network->set_activation_checkpointing(checkpointing);
    const Tensor x = require_grad(uniform({2, 16, 24, 3}, 1, 0, 1));
    const Tensor y = (*network)(x);
    backward(sum_squared_error(y, uniform(y.shape(), 2, 0, 1)));
    std::vector<std::pair<std::string, Tensor>> all{{"output", y.detach()}, {"input", grad(x)}};
    for (const NamedTensor& p : network->parameters()) all.emplace_back(p.name, grad(p.tensor));
    return all;
  };
  const auto plain = results(false), recomputed = results(true);
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_TRUE(plain[i].second && recomputed[i].second) << plain[i].first;
    EXPECT_TRUE(same_bits(plain[i].second, recomputed[i].second)) << plain[i].first;
  }
}

}  // namespace
}  // namespace relume::test
