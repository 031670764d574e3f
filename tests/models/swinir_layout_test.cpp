#include "models/swinir_layout.h"

#include <algorithm>

#include "base/text.h"
#include "tests/support/errors.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

std::vector<TensorInfo> infos_of(const SwinIRConfig& config, bool buffers = true) {
  std::vector<TensorInfo> infos;
  for (const ExpectedTensor& e : swinir_layout(config))
    if (!e.buffer || buffers) infos.push_back({e.name, e.name.ends_with("_index") ? DType::i64 : DType::f32, e.shape});
  return infos;
}

SwinIRConfig changed(void (*change)(SwinIRConfig&)) {
  SwinIRConfig c{
      .img_size = 8, .embed_dim = 12, .depths = {2, 3}, .num_heads = {2, 3}, .window_size = 4, .sf = 2, .unshuffle_scale = 2};
  change(c);
  return c;
}

// Published ones and every option, small.
const std::vector<std::pair<const char*, SwinIRConfig>>& configs() {
  static const std::vector<std::pair<const char*, SwinIRConfig>> all{
      {"the paper's", SwinIRConfig{}},
      {"classical x4, patch 48",
       {.img_size = 48,
        .depths = {6, 6, 6, 6, 6, 6},
        .num_heads = {6, 6, 6, 6, 6, 6},
        .sf = 4,
        .upsampler = "pixelshuffle",
        .unshuffle = false}},
      {"lightweight x3",
       {.embed_dim = 60,
        .depths = {6, 6, 6, 6},
        .num_heads = {6, 6, 6, 6},
        .sf = 3,
        .upsampler = "pixelshuffledirect",
        .unshuffle = false}},
      {"real-world, large",
       {.embed_dim = 240,
        .depths = std::vector<int>(9, 6),
        .num_heads = std::vector<int>(9, 8),
        .sf = 4,
        .resi_connection = "3conv",
        .unshuffle = false}},
      {"colour denoising",
       {.img_size = 128,
        .depths = std::vector<int>(6, 6),
        .num_heads = std::vector<int>(6, 6),
        .sf = 1,
        .upsampler = "",
        .unshuffle = false}},
      {"grey JPEG",
       {.img_size = 126,
        .in_chans = 1,
        .depths = std::vector<int>(6, 6),
        .num_heads = std::vector<int>(6, 6),
        .window_size = 7,
        .sf = 1,
        .img_range = 255,
        .upsampler = "",
        .unshuffle = false}},
      {"base", changed([](SwinIRConfig&) {})},
      {"no unshuffle", changed([](SwinIRConfig& c) { c.unshuffle = false; })},
      {"no bias", changed([](SwinIRConfig& c) { c.qkv_bias = false; })},
      {"no patch norm", changed([](SwinIRConfig& c) { c.patch_norm = false; })},
      {"position embedding", changed([](SwinIRConfig& c) { c.ape = true; })},
      {"three convolutions", changed([](SwinIRConfig& c) { c.resi_connection = "3conv"; })},
      {"odd ratio", changed([](SwinIRConfig& c) { c.mlp_ratio = 7.0 / 12; })},
      {"one channel", changed([](SwinIRConfig& c) { c.in_chans = 1; })},
      {"nothing shifts", changed([](SwinIRConfig& c) { c.img_size = 4; })},
      {"pixelshuffle 3",
       changed([](SwinIRConfig& c) { c.upsampler = "pixelshuffle", c.sf = 3, c.unshuffle = false, c.unshuffle_scale = 8; })},
      {"pixelshuffle 8", changed([](SwinIRConfig& c) { c.upsampler = "pixelshuffle", c.sf = c.unshuffle_scale = 8; })},
      {"pixelshuffledirect unshuffled", changed([](SwinIRConfig& c) { c.upsampler = "pixelshuffledirect"; })},
      {"nearest 16", changed([](SwinIRConfig& c) { c.sf = c.unshuffle_scale = 16; })},
      {"wide window", changed([](SwinIRConfig& c) { c.window_size = 16, c.img_size = 64; })},
      {"twelve channels", small_network()},
  };
  return all;
}

TEST(SwinIRLayout, EqualsTheNetworksState) {
  for (const auto& [name, config] : configs()) {
    const SwinIR network(config);
    std::vector<std::string> ours, theirs;
    for (const ExpectedTensor& e : swinir_layout(config))
      ours.push_back(detail::concat(e.name, ' ', e.shape, e.buffer ? " buffer" : ""));
    const size_t parameters = network.parameters().size();
    const std::vector<NamedTensor> state = stored_state(network);
    for (size_t i = 0; i < state.size(); ++i)
      theirs.push_back(detail::concat(state[i].name, ' ', state[i].tensor.shape(), i < parameters ? "" : " buffer"));
    std::ranges::sort(ours);
    std::ranges::sort(theirs);
    EXPECT_EQ(ours, theirs) << name;
  }
}

TEST(SwinIRLayout, InferenceFindsTheConfigurationAgain) {
  for (auto [name, config] : configs()) {
    const auto inferred = infer_swinir(infos_of(config));
    ASSERT_TRUE(inferred) << name;
    EXPECT_EQ(inferred->contradiction, "") << name;
    if (config.img_size <= config.window_size) config.window_size = config.img_size;
    config.outer_unshuffle = 1, config.zero_last = false;  // which tensors do not show
    if (!config.unshuffle) config.unshuffle_scale = SwinIRConfig{}.unshuffle_scale;
    EXPECT_EQ(to_yaml(inferred->config), to_yaml(config)) << name;
    EXPECT_TRUE(fit_layout(swinir_layout(inferred->config), infos_of(config)).whole()) << name;
  }
}

// Whatever the map the masks are for was: the parameters are found, and the size is said to be assumed.
TEST(SwinIRLayout, InferenceGoesWithoutBuffers) {
  for (const auto& [name, config] : configs()) {
    const auto inferred = infer_swinir(infos_of(config, false));
    ASSERT_TRUE(inferred) << name;
    EXPECT_EQ(inferred->contradiction, "") << name;
    EXPECT_TRUE(fit_layout(swinir_layout(inferred->config), infos_of(config, false)).whole()) << name;
    const bool assumed =
        std::ranges::any_of(inferred->assumed, [](const std::string& line) { return line.starts_with("img_size "); });
    EXPECT_EQ(assumed, !config.ape) << name;
  }
}

TEST(SwinIRLayout, WhatTensorsDoNotShowIsSaid) {
  const auto said = [](const SwinIRConfig& c) { return join(infer_swinir(infos_of(c))->assumed, "; "); };
  EXPECT_EQ(said(SwinIRConfig{}),
            "outer_unshuffle 1; img_range 1; qk_scale head_dim^-0.5; patch_size 1; "
            "drop_path_rate 0.1 and zero_last off (they matter to training alone)");
  EXPECT_HAS(said(small_network()), "outer_unshuffle 1 (its 12 channels could be pictures unshuffled by 2)");
  EXPECT_HAS(said(configs()[5].second),
             "img_range 255 (as in the published networks against JPEG artefacts, whose window is 7)");
  EXPECT_HAS(join(infer_swinir(infos_of(configs()[19].second, false))->assumed, "; "), "img_size 64 (no masks are stored;");
}

// A tensor less at a time: a SwinIR still, and exactly that one is missed.
TEST(SwinIRLayout, AnyMissingParameterIsNamed) {
  const SwinIRConfig config = changed([](SwinIRConfig& c) { c.unshuffle = false; });
  const std::vector<TensorInfo> whole = infos_of(config);
  int checked = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i].name.ends_with("attn_mask") || whole[i].name.ends_with("_index")) continue;
    std::vector<TensorInfo> rest = whole;
    rest.erase(rest.begin() + int64_t(i));
    const auto inferred = infer_swinir(rest);
    ASSERT_TRUE(inferred) << whole[i].name;
    ASSERT_EQ(inferred->contradiction, "") << whole[i].name;
    const LayoutFit fit = fit_layout(swinir_layout(inferred->config), rest);
    const bool is_its_own_evidence = whole[i].name == "conv_up1.weight" || whole[i].name == "conv_first.weight";
    const std::vector<std::string> expected{detail::concat(whole[i].name, ' ', whole[i].shape)};
    EXPECT_TRUE(fit.missing == expected || is_its_own_evidence) << listing(fit);
    EXPECT_FALSE(fit.whole()) << whole[i].name;
    ++checked;
  }
  EXPECT_GT(checked, 60);
}

TEST(SwinIRLayout, EverySortOfMisfitIsListed) {
  std::vector<TensorInfo> tensors = infos_of(changed([](SwinIRConfig&) {}));
  const auto named = [&](const std::string& name) { return std::ranges::find(tensors, name, &TensorInfo::name); };
  named("conv_hr.weight")->shape = {64, 64, 1, 1};
  named("conv_hr.bias")->dtype = DType::i32;
  named("norm.bias")->dtype = DType::f16;
  tensors.erase(named("layers.1.residual_group.blocks.2.mlp.fc2.bias"));
  for (int i = 0; i < 23; ++i) tensors.push_back({"discriminator." + std::to_string(i), DType::f32, {i}});
  const auto inferred = infer_swinir(tensors);
  ASSERT_TRUE(inferred);
  const LayoutFit fit = fit_layout(swinir_layout(inferred->config), tensors);
  EXPECT_FALSE(fit.whole());
  EXPECT_EQ(summary(fit), detail::concat(fit.expected - 3, " of ", fit.expected,
                                         " tensors fit, 1 is missing, 23 are unexpected, 2 have another shape or type"));
  const std::string text = listing(fit);
  EXPECT_HAS(text, "\n  missing: layers.1.residual_group.blocks.2.mlp.fc2.bias [12]");
  EXPECT_HAS(text, "\n  shape of conv_hr.weight: [64, 64, 1, 1], expected [64, 64, 3, 3]");
  EXPECT_HAS(text, "\n  type of conv_hr.bias: i32, expected a float");
  EXPECT_EQ(occurrences(text, "\n  unexpected: discriminator."), 20);
  EXPECT_HAS(text, "\n  and 3 more unexpected");
}

TEST(SwinIRLayout, ContradictionsAreSaidAndNothingIsBuilt) {
  const auto with = [](const std::string& name, const Shape& shape) {
    std::vector<TensorInfo> tensors = infos_of(changed([](SwinIRConfig&) {}));
    for (TensorInfo& t : tensors)
      if (t.name == name) t.shape = shape;
    return infer_swinir(tensors)->contradiction;
  };
  const std::string block = "layers.0.residual_group.blocks.0.";
  EXPECT_HAS(with(block + "norm1.weight", {7}), "embed_dim 7 is no multiple of 2 heads");
  EXPECT_HAS(with(block + "norm1.weight", {0}), "embed_dim is 0, expected 1..4096");
  EXPECT_HAS(with(block + "norm1.weight", {int64_t(1) << 60}), "embed_dim is 2147483647");
  EXPECT_HAS(with(block + "attn.relative_position_bias_table", {int64_t(1048575) * 1048575, 1}),
             "window_size is 524288, expected 1..64");
  EXPECT_HAS(with(block + "attn.relative_position_bias_table", {49, 0}), "num_heads");
  EXPECT_HAS(with(block + "mlp.fc1.weight", {0, 12}), "mlp_ratio is 0, expected 0.01..64");
  EXPECT_HAS(with("conv_last.weight", {0, 64, 3, 3}), "in_chans is 0, expected 1..1024");

  // Names alone, with hostile numbers in them.
  std::vector<TensorInfo> names;
  for (const char* group : {"0", "255", "256", "4000000000", "-1", "99999999999999999999"})
    for (const char* number : {"0", "63", "64", "2147483647", "x", ""})
      names.push_back({std::string("layers.") + group + ".residual_group.blocks." + number + ".norm1.weight", DType::f32, {0}});
  const auto inferred = infer_swinir(names);
  ASSERT_TRUE(inferred);
  EXPECT_EQ(inferred->config.depths.size(), 256u);
  EXPECT_EQ(inferred->config.depths[255], 64);
  EXPECT_NE(inferred->contradiction, "");
  SwinIRConfig endless;
  endless.depths.assign(257, 1), endless.num_heads.assign(257, 6);
  EXPECT_HAS(input_error([&] { swinir_layout(endless); }), "depths has 257 entries, at most 256");
}

TEST(SwinIRLayout, OtherNetworksAreNone) {
  EXPECT_FALSE(infer_swinir({}));
  EXPECT_FALSE(infer_swinir({{"conv_first.weight", DType::f32, {64, 3, 3, 3}}, {"layers.0.weight", DType::f32, {1}}}));
}

}  // namespace
}  // namespace relume::test
