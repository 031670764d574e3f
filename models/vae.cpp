#include "models/vae.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/attention.h"
#include "models/autoencoder_strips.h"

namespace relume {

namespace {

constexpr int norm_groups = 32;
constexpr double norm_eps = 1e-6;  // 1e-5 in the U-Net (spec 8.1)
constexpr double least_logvar = -30, greatest_logvar = 20;
constexpr GroupNormOptions plain_norm{.groups = norm_groups, .eps = norm_eps},
    silu_norm{.groups = norm_groups, .eps = norm_eps, .act = silu_activation};

const AutoencoderConfig& validated(const AutoencoderConfig& config) {
  config.validate();
  return config;
}

}  // namespace

bool AutoencoderConfig::attends(size_t level) const { return std::ranges::count(attn_resolutions, resolution >> level) > 0; }

void AutoencoderConfig::validate() const {
  RELUME_CHECK(!ch_mult.empty() && ch_mult.size() <= 16, "ch_mult has ", ch_mult.size(), " entries, expected 1 to 16");
  for (size_t level = 0; level < ch_mult.size(); ++level)
    RELUME_CHECK(channels(level) % norm_groups == 0, "level ", level, " has ", channels(level),
                 " channels, no multiple of the ", norm_groups, " groups of its norms");
  RELUME_CHECK(attn_resolutions.empty() || resolution % reduction() == 0,
               "attn_resolutions need a resolution that is a multiple of ", reduction(), "; it is ", resolution);
}

Tensor AutoencoderStep::behind_norm(const Tensor& normed, const Tensor& kept) const {
  if (attention) return attention->attended(normed, kept);
  if (!adds) return (*conv)(normed);
  return (*conv)(normed, {}, shortcut ? (*shortcut)(kept) : kept);
}

ResnetBlock::ResnetBlock(Module* parent, std::string name, int64_t in, int64_t out)
    : Module(parent, std::move(name)),
      norm1_(this, "norm1", in, silu_norm),
      conv1_(this, "conv1", {in, out}),
      norm2_(this, "norm2", out, silu_norm),
      conv2_(this, "conv2", {out, out}) {
  if (in != out) nin_shortcut_.emplace(this, "nin_shortcut", Conv2dShape{in, out, 1});
}

Tensor ResnetBlock::operator()(const Tensor& x) const {
  return conv2_(norm2_(conv1_(norm1_(x))), {}, nin_shortcut_ ? (*nin_shortcut_)(x) : x);
}

void ResnetBlock::list_steps(AutoencoderSteps& steps) const {
  steps.push_back({.norm = &norm1_, .conv = &conv1_, .keeps = true});
  steps.push_back({.norm = &norm2_, .conv = &conv2_, .adds = true, .shortcut = nin_shortcut_ ? &*nin_shortcut_ : nullptr});
}

AttnBlock::AttnBlock(Module* parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      norm_(this, "norm", channels, plain_norm),
      q_(this, "q", {channels, channels, 1}),
      k_(this, "k", {channels, channels, 1}),
      v_(this, "v", {channels, channels, 1}),
      proj_out_(this, "proj_out", {channels, channels, 1}) {}

Tensor AttnBlock::operator()(const Tensor& x) const { return attended(norm_(x), x); }

Tensor AttnBlock::attended(const Tensor& normed, const Tensor& x) const {
  const int64_t channels = x.shape(3);
  const auto tokens = [&](const Conv2d& conv) {
    return reshape(conv(normed), {x.shape(0), x.shape(1) * x.shape(2), channels});
  };
  const Tensor y =
      with_path([&] { return attention(tokens(q_), tokens(k_), tokens(v_), {.scale = 1 / std::sqrt(double(channels))}); });
  return proj_out_(reshape(y, x.shape()), {}, x);
}

void AttnBlock::list_steps(AutoencoderSteps& steps) const {
  steps.push_back({.norm = &norm_, .attention = this, .keeps = true, .adds = true});
}

AutoencoderLevel::AutoencoderLevel(Module* parent, std::string name, const AutoencoderLevelShape& s)
    : Module(parent, std::move(name)), block_(this, "block"), attn_(this, "attn") {
  for (int i = 0; i < s.blocks; ++i) {
    block_.add(i == 0 ? s.in : s.out, s.out);
    if (s.attention) attn_.add(s.out);
  }
  using Resample = AutoencoderLevelShape::Resample;
  if (s.resample == Resample::none) return;
  const bool halve = s.resample == Resample::halve;
  resample_group_ = std::make_unique<Module>(this, halve ? "downsample" : "upsample");
  // Halving pads on the right and below alone, unlike the U-Net's (spec 8.3).
  resample_ =
      std::make_unique<Conv2d>(resample_group_.get(), "conv",
                               halve ? Conv2dShape{.in = s.out, .out = s.out, .stride = 2, .pad_before = 0, .pad_after = 1}
                                     : Conv2dShape{.in = s.out, .out = s.out, .enlarge = 2});
}

// A gradient through large maps (restoration guidance) keeps what goes into a block, and computes the block again.
Tensor AutoencoderLevel::operator()(const Tensor& x) const {
  Tensor y = x;
  for (size_t i = 0; i < block_.size(); ++i) {
    const auto run = [this, i](const Tensor& in) { return attn_.size() > 0 ? attn_[i](block_[i](in)) : block_[i](in); };
    y = recording({y}) ? checkpoint(run, y) : run(y);
  }
  return resample_ ? (*resample_)(y) : y;
}

void AutoencoderLevel::list_steps(AutoencoderSteps& steps) const {
  for (size_t i = 0; i < block_.size(); ++i) {
    block_[i].list_steps(steps);
    if (attn_.size() > 0) attn_[i].list_steps(steps);
  }
  if (resample_) steps.push_back({.conv = resample_.get()});
}

AutoencoderMiddle::AutoencoderMiddle(Module* parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      block_1_(this, "block_1", channels, channels),
      attn_1_(this, "attn_1", channels),
      block_2_(this, "block_2", channels, channels) {}

Tensor AutoencoderMiddle::operator()(const Tensor& x) const { return block_2_(attn_1_(block_1_(x))); }

void AutoencoderMiddle::list_steps(AutoencoderSteps& steps) const {
  block_1_.list_steps(steps), attn_1_.list_steps(steps), block_2_.list_steps(steps);
}

AutoencoderEncoder::AutoencoderEncoder(Module* parent, std::string name, const AutoencoderConfig& c)
    : Module(parent, std::move(name)),
      conv_in_(this, "conv_in", {c.in_channels, c.ch}),
      down_(this, "down"),
      mid_(this, "mid", c.channels(c.ch_mult.size() - 1)),
      norm_out_(this, "norm_out", c.channels(c.ch_mult.size() - 1), silu_norm),
      conv_out_(this, "conv_out", {c.channels(c.ch_mult.size() - 1), 2 * c.z_channels}) {
  using Resample = AutoencoderLevelShape::Resample;
  for (size_t i = 0; i < c.ch_mult.size(); ++i)
    down_.add(AutoencoderLevelShape{.in = i == 0 ? c.ch : c.channels(i - 1),
                                    .out = c.channels(i),
                                    .blocks = c.num_res_blocks,
                                    .attention = c.attends(i),
                                    .resample = i + 1 < c.ch_mult.size() ? Resample::halve : Resample::none});
}

Tensor AutoencoderEncoder::operator()(const Tensor& x) const {
  Tensor y = conv_in_(x);
  for (const auto& level : down_) y = (*level)(y);
  return conv_out_(norm_out_(mid_(y)));
}

AutoencoderSteps AutoencoderEncoder::steps() const {
  AutoencoderSteps steps{{.conv = &conv_in_}};
  for (const auto& level : down_) level->list_steps(steps);
  mid_.list_steps(steps);
  steps.push_back({.norm = &norm_out_, .conv = &conv_out_});
  return steps;
}

AutoencoderDecoder::AutoencoderDecoder(Module* parent, std::string name, const AutoencoderConfig& c)
    : Module(parent, std::move(name)),
      conv_in_(this, "conv_in", {c.z_channels, c.channels(c.ch_mult.size() - 1)}),
      mid_(this, "mid", c.channels(c.ch_mult.size() - 1)),
      up_(this, "up"),
      norm_out_(this, "norm_out", c.channels(0), silu_norm),
      conv_out_(this, "conv_out", {c.channels(0), c.out_ch}) {
  using Resample = AutoencoderLevelShape::Resample;
  for (size_t i = 0; i < c.ch_mult.size(); ++i)
    up_.add(AutoencoderLevelShape{.in = c.channels(std::min(i + 1, c.ch_mult.size() - 1)),
                                  .out = c.channels(i),
                                  .blocks = c.num_res_blocks + 1,
                                  .attention = c.attends(i),
                                  .resample = i > 0 ? Resample::twice : Resample::none});
}

Tensor AutoencoderDecoder::operator()(const Tensor& z) const {
  Tensor y = mid_(conv_in_(z));
  for (size_t i = up_.size(); i-- > 0;) y = up_[i](y);
  return conv_out_(norm_out_(y));
}

AutoencoderSteps AutoencoderDecoder::steps() const {
  AutoencoderSteps steps{{.conv = &conv_in_}};
  mid_.list_steps(steps);
  for (size_t i = up_.size(); i-- > 0;) up_[i].list_steps(steps);
  steps.push_back({.norm = &norm_out_, .conv = &conv_out_});
  return steps;
}

DiagonalGaussian::DiagonalGaussian(const Tensor& moments) {
  const int64_t channels = moments.shape(-1) / 2;
  mean = columns(moments, 0, channels);
  logvar = clamp(columns(moments, channels, 2 * channels), least_logvar, greatest_logvar);
}

Tensor DiagonalGaussian::deviation() const { return exp(scale(logvar, 0.5)); }

Tensor DiagonalGaussian::sample(const Tensor& noise) const { return add(mean, mul(deviation(), noise)); }

// Half the sum of mean^2 + variance - logvar - 1; the sum is a product with halves.
Tensor DiagonalGaussian::divergence() const {
  const size_t channels = size_t(mean.shape(-1));
  const Tensor squares = sub(add(mul(mean, mean), exp(logvar)), logvar);
  const Tensor terms = channel_affine(squares, std::vector<double>(channels, 1), std::vector<double>(channels, -1));
  const int64_t samples = mean.shape(0), numbers = mean.numel() / samples;
  const Tensor halves = Tensor::full({1, numbers}, 0.5, mean.dtype(), mean.device());
  return reshape(linear(reshape(terms, {samples, numbers}), halves, {}), {samples});
}

Tensor sample_by_sample(const Tensor& batch, const std::function<Tensor(const Tensor&)>& f) {
  if (batch.shape(0) == 1) return f(batch);
  Tensor out;
  for (int64_t n = 0; n < batch.shape(0); ++n) {
    const Tensor one = f(batch.slice(n, n + 1));
    if (!out) out = Tensor::empty(one.shape().with(0, batch.shape(0)), one.dtype(), one.device());
    out.slice(n, n + 1).copy_from(one);
  }
  return out;
}

AutoencoderKL::AutoencoderKL(const AutoencoderConfig& config, Device device)
    : Module(nullptr, "", device),
      config_(validated(config)),
      encoder(this, "encoder", config),
      decoder(this, "decoder", config),
      quant_conv(this, "quant_conv", {2 * config.z_channels, 2 * config.embed_dim, 1}),
      post_quant_conv(this, "post_quant_conv", {config.embed_dim, config.z_channels, 1}) {}

// Whether the largest map of a sample, `enlarged` times as large as x, is larger than a strip.
bool AutoencoderKL::in_strips(const Tensor& x, int64_t enlarged) const {
  const int64_t pixels = x.shape(1) * x.shape(2) * enlarged * enlarged;
  return !grad_enabled() && pixels * config_.channels(0) * size_of(x.dtype()) > strip_bytes;
}

Tensor AutoencoderKL::encoded(const Tensor& x) const {
  RELUME_CHECK(x.rank() == 4 && x.shape(3) == config_.in_channels, "AutoencoderKL: pictures ", x, " given, expected [N, H, W, ",
               config_.in_channels, "]");
  RELUME_CHECK(std::min(x.shape(1), x.shape(2)) >= config_.reduction(), "AutoencoderKL: pictures ", x.shape(),
               " are smaller than one latent of ", config_.reduction(), " x ", config_.reduction(), " pixels; pad them");
  return in_strips(x, 1) ? run_in_strips(encoder.steps(), x) : encoder(x);
}

Tensor AutoencoderKL::decode(const Tensor& z) const {
  RELUME_CHECK(z.rank() == 4 && z.shape(3) == config_.embed_dim, "AutoencoderKL: latents ", z, " given, expected [N, h, w, ",
               config_.embed_dim, "]");
  const Tensor x = post_quant_conv(z);
  return in_strips(x, config_.reduction()) ? run_in_strips(decoder.steps(), x) : decoder(x);
}

}  // namespace relume
