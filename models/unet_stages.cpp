#include "models/unet_stages.h"

#include <algorithm>
#include <cmath>

#include "autograd/shape.h"
#include "layers/init.h"

namespace relume {

namespace {

using Kind = UNetLayerShape::Kind;

constexpr int groups_of_norms = 32;

bool attends(const UNetConfig& c, int level) { return std::ranges::count(c.attention_resolutions, 1 << level) > 0; }
int64_t channels_at(const UNetConfig& c, int level) { return int64_t(c.model_channels) * c.channel_mult[size_t(level)]; }

bool starts_at_zero(const std::string& name) {
  const auto ends_in = [&](const std::string& layer) {
    return name.ends_with(layer + ".weight") || name.ends_with(layer + ".bias");
  };
  return ends_in("out_layers.3") || ends_in("proj_out") || name.starts_with("out.2.") || name.starts_with("zero_convs.") ||
         name.starts_with("middle_block_out.");
}

}  // namespace

void UNetConfig::validate() const {
  RELUME_CHECK(!channel_mult.empty() && channel_mult.size() <= 12, "channel_mult has ", channel_mult.size(),
               " entries; expected 1 to 12 levels");
  RELUME_CHECK(model_channels % groups_of_norms == 0, "model_channels ", model_channels, " is no multiple of the ",
               groups_of_norms, " groups of the norms");
  for (int level = 0; level < levels(); ++level)
    RELUME_CHECK(!(attends(*this, level) || level + 1 == levels()) || channels_at(*this, level) % num_head_channels == 0,
                 "level ", level, ": ", channels_at(*this, level), " channels are no multiple of num_head_channels ",
                 num_head_channels);
}

std::vector<UNetStageShape> input_stages(const UNetConfig& c, int64_t in_channels) {
  int64_t channels = c.model_channels;
  std::vector<UNetStageShape> stages{{{Kind::convolution, in_channels, channels}}};
  for (int level = 0; level < c.levels(); ++level) {
    for (int i = 0; i < c.num_res_blocks; ++i) {
      const int64_t out = channels_at(c, level);
      stages.push_back({{Kind::residual, channels, out}});
      if (attends(c, level)) stages.back().push_back({Kind::transformer, out, out});
      channels = out;
    }
    if (level + 1 < c.levels()) stages.push_back({{Kind::downsample, channels, channels}});
  }
  return stages;
}

UNetStageShape middle_stage(const UNetConfig& c) {
  const int64_t channels = channels_at(c, c.levels() - 1);
  return {{Kind::residual, channels, channels}, {Kind::transformer, channels, channels}, {Kind::residual, channels, channels}};
}

std::vector<UNetStageShape> output_stages(const UNetConfig& c) {
  std::vector<UNetStageShape> skips = input_stages(c, c.in_channels), stages;
  int64_t channels = channels_at(c, c.levels() - 1);
  for (int level = c.levels() - 1; level >= 0; --level)
    for (int i = 0; i <= c.num_res_blocks; ++i) {
      const int64_t out = channels_at(c, level);
      stages.push_back({{Kind::residual, channels + skips.back().back().out, out}});
      if (attends(c, level)) stages.back().push_back({Kind::transformer, out, out});
      if (level > 0 && i == c.num_res_blocks) stages.back().push_back({Kind::upsample, out, out});
      skips.pop_back();
      channels = out;
    }
  return stages;
}

UNetStage::UNetStage(Module* parent, std::string name, const UNetConfig& config, const UNetStageShape& shape)
    : Module(parent, std::move(name)) {
  for (const UNetLayerShape& s : shape) layers_.push_back(layer(config, s));
}

UNetStage::Layer UNetStage::layer(const UNetConfig& c, const UNetLayerShape& s) {
  const std::string number = std::to_string(layers_.size());
  const auto residual = [&](Resample resample) {
    const ResBlockShape shape{s.in, s.out, 4 * c.model_channels, c.use_scale_shift_norm, resample};
    return std::make_unique<ResBlock>(this, number, shape);
  };
  Layer l;
  if (s.kind == Kind::convolution || s.kind == Kind::pointwise) {
    l.conv = std::make_unique<Conv2d>(this, number, Conv2dShape{s.in, s.out, s.kind == Kind::convolution ? 3 : 1});
  } else if (s.kind == Kind::residual) {
    l.residual = residual(Resample::none);
  } else if (s.kind == Kind::transformer) {
    l.transformer = std::make_unique<SpatialTransformer>(this, number,
                                                         TransformerShape{.channels = s.in,
                                                                          .heads = int(s.in / c.num_head_channels),
                                                                          .head_channels = c.num_head_channels,
                                                                          .context = c.context_dim,
                                                                          .depth = c.transformer_depth,
                                                                          .linear_projections = c.use_linear_in_transformer});
  } else if (c.resblock_updown) {
    l.residual = residual(s.kind == Kind::downsample ? Resample::down : Resample::up);
  } else {
    const bool down = s.kind == Kind::downsample;
    l.group = std::make_unique<Module>(this, number);
    l.conv = std::make_unique<Conv2d>(l.group.get(), down ? "op" : "conv",
                                      Conv2dShape{.in = s.in, .out = s.out, .enlarge = down ? 1 : 2, .stride = down ? 2 : 1});
  }
  return l;
}

Tensor UNetStage::operator()(const Tensor& x, const Tensor& emb, std::span<const KeysAndValues> text) const {
  Tensor y = x;
  for (const Layer& l : layers_) {
    if (l.conv)
      y = (*l.conv)(y);
    else if (l.residual)
      y = (*l.residual)(y, emb);
    else
      y = (*l.transformer)(y, text);  // a stage has one at most
  }
  return y;
}

std::vector<KeysAndValues> UNetStage::keys_and_values(const Tensor& context) const {
  for (const Layer& l : layers_)
    if (l.transformer) return l.transformer->keys_and_values(context);
  return {};
}

int64_t UNetStage::cross_attentions() const {
  for (const Layer& l : layers_)
    if (l.transformer) return l.transformer->depth();
  return 0;
}

int64_t cross_attentions(std::span<const UNetStage* const> stages) {
  int64_t count = 0;
  for (const UNetStage* stage : stages) count += stage->cross_attentions();
  return count;
}

Tensor UNetPass::operator()(const UNetStage& stage, const Tensor& x, const Tensor& skip) {
  const auto own = text_.first(size_t(stage.cross_attentions()));
  text_ = text_.subspan(own.size());
  if (!checkpointing_) {
    // Views that sum the stage's contributions to a gradient before those of other users join, in the order that they are
    // summed when the stage runs again.
    const Tensor map = reshape(x, x.shape());
    return stage(skip ? concat(map, skip) : map, reshape(emb_, emb_.shape()), own);
  }
  std::vector<Tensor> inputs{x, skip, emb_};
  for (const KeysAndValues& pair : own) inputs.insert(inputs.end(), {pair.keys, pair.values});
  const auto run = [&stage](const std::vector<Tensor>& in) {
    std::vector<KeysAndValues> text;
    for (size_t i = 3; i < in.size(); i += 2) text.push_back({in[i], in[i + 1]});
    return stage(in[1] ? concat(in[0], in[1]) : in[0], in[2], text);
  };
  return checkpoint(run, inputs);
}

std::vector<KeysAndValues> keys_and_values(std::span<const UNetStage* const> stages, const Tensor& context) {
  std::vector<KeysAndValues> all;
  for (const UNetStage* stage : stages) {
    const std::vector<KeysAndValues> own = stage->keys_and_values(context);
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

void check_unet_inputs(const char* who, const UNetConfig& config, int64_t channels, std::span<const UNetStage* const> stages,
                       const Tensor& x, const Tensor& t, std::span<const KeysAndValues> text) {
  const int multiple = config.size_multiple();
  const int64_t attentions = cross_attentions(stages);
  RELUME_CHECK(x.rank() == 4 && x.shape(3) == channels, who, ": latents ", x, " given, expected [N, H, W, ", channels, "]");
  RELUME_CHECK(x.shape(1) % multiple == 0 && x.shape(2) % multiple == 0, who, ": latents ", x.shape(), " are no multiple of ",
               multiple, "; pad them");
  RELUME_CHECK(t.shape() == Shape{x.shape(0)} || t.shape() == Shape({x.shape(0), config.model_channels}), who, ": times ", t,
               " given, expected one for each of ", x.shape(0), " samples, or their embedding");
  RELUME_CHECK(int64_t(text.size()) == attentions, who, ": keys and values of ", text.size(),
               " cross attentions given, expected ", attentions, "; ask this network for them");
  for (const KeysAndValues& pair : text)
    RELUME_CHECK(pair.keys.shape(0) == x.shape(0), who, ": a text for ", pair.keys.shape(0), " samples given, expected ",
                 x.shape(0));
}

void initialise_unet(const Module& network, uint64_t seed) {
  double bound = 0;  // of the bias that comes next; none behind a norm
  for (const NamedTensor& p : network.parameters()) {
    const Tensor& t = p.tensor;
    const bool weight = p.name.ends_with("weight"), norm = weight && t.rank() == 1;
    if (weight) bound = norm || starts_at_zero(p.name) ? 0 : 1 / std::sqrt(double(t.numel() / t.shape(0)));
    if (bound > 0)
      init_uniform(t, bound, seed, p.name);
    else
      init_constant(t, norm ? 1 : 0);
  }
}

}  // namespace relume
