#include "models/unet_blocks.h"

#include <cmath>

#include "autograd/resample.h"
#include "autograd/shape.h"

namespace relume {

namespace {

constexpr double block_eps = 1e-5, transformer_eps = 1e-6;  // of the group norms (spec 8.1)

// The mean of 2 x 2 pixels: unshuffled, the four of a channel lie side by side.
Tensor average_by_two(const Tensor& x) {
  const Tensor pixels = pixel_unshuffle(x, 2), quarters = Tensor::full({1, 4}, 0.25, x.dtype(), x.device());
  const Tensor means = linear(reshape(pixels, {pixels.numel() / 4, 4}), quarters, {});
  return reshape(means, pixels.shape().with(3, x.shape(3)));
}

// silu(h * (1 + scale) + shift): scale and shift are the halves of e [N, 2 * C], the same for all pixels of h [N, H, W, C].
Tensor scale_and_shift(const Tensor& h, const Tensor& e) {
  const int64_t channels = h.shape(3);
  const Tensor scale = add_per_sample(zeros_like(h), columns(e, 0, channels));
  return silu(add_per_sample(add(h, mul(h, scale)), columns(e, channels, 2 * channels)));
}

}  // namespace

Tensor timestep_embedding(const Tensor& t, int64_t width) {
  RELUME_CHECK(t.rank() == 1 && t.dtype() == DType::f32 && t.device() == Device{} && width >= 2, "timestep_embedding: times ",
               t, " and width ", width, " given; expected f32 [N] on the CPU and a width from 2");
  const int64_t half = width / 2;
  const Tensor embedding = Tensor::zeros({t.shape(0), width});
  // In floats throughout, as the published networks were trained: at t = 999 the rounding of a frequency shows in the fifth
  // digit.
  const float log_period = float(-std::log(10000.0));
  for (int64_t n = 0; n < t.shape(0); ++n) {
    float* row = embedding.data<float>() + n * width;
    for (int64_t k = 0; k < half; ++k) {
      const float angle = t.data<float>()[n] * std::exp(log_period * float(k) / float(half));
      row[k] = std::cos(angle);
      row[half + k] = std::sin(angle);
    }
  }
  return embedding;
}

TimeEmbedding::TimeEmbedding(Module* parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      first_(this, "0", {channels, 4 * channels}),
      second_(this, "2", {4 * channels, 4 * channels}) {}

Tensor TimeEmbedding::operator()(const Tensor& t, DType dtype) const {
  const Tensor waves = t.rank() == 2 ? t : timestep_embedding(t, first_.weight.shape(1));
  return second_(first_(waves.to(device()).to(dtype), {.act = silu_activation}), {.act = silu_activation});
}

ResBlock::ResBlock(Module* parent, std::string name, const ResBlockShape& s)
    : Module(parent, std::move(name)),
      shape_(s),
      in_layers_(this, "in_layers"),
      in_norm_(&in_layers_, "0", s.in, {.eps = block_eps, .act = silu_activation}),
      in_conv_(&in_layers_, "2", {.in = s.in, .out = s.out, .enlarge = s.resample == Resample::up ? 2 : 1}),
      emb_layers_(this, "emb_layers"),
      emb_(&emb_layers_, "1", {s.embedding, s.scale_shift ? 2 * s.out : s.out}),
      out_layers_(this, "out_layers"),
      out_norm_(&out_layers_, "0", s.out, {.eps = block_eps, .act = s.scale_shift ? Activation{} : silu_activation}),
      out_conv_(&out_layers_, "3", {s.out, s.out}) {
  if (s.in != s.out) skip_ = std::make_unique<Conv2d>(this, "skip_connection", Conv2dShape{s.in, s.out, 1});
}

Tensor ResBlock::operator()(const Tensor& x, const Tensor& emb) const {
  const bool down = shape_.resample == Resample::down, up = shape_.resample == Resample::up;
  const Tensor normed = in_norm_(x), e = emb_(emb);
  Tensor h = in_conv_(down ? average_by_two(normed) : normed);  // which enlarges, going up
  h = shape_.scale_shift ? scale_and_shift(out_norm_(h), e) : out_norm_(add_per_sample(h, e));
  const Tensor skip = down ? average_by_two(x) : up ? upsample_nearest(x, 2) : x;
  return out_conv_(h, {}, skip_ ? (*skip_)(skip) : skip);
}

Attention::Attention(Module* parent, std::string name, const TransformerShape& s, int64_t context)
    : Module(parent, std::move(name)),
      options_{.heads = s.heads, .scale = 1 / std::sqrt(double(s.head_channels))},
      to_q_(this, "to_q", {s.tokens(), s.tokens(), false}),
      to_k_(this, "to_k", {context, s.tokens(), false}),
      to_v_(this, "to_v", {context, s.tokens(), false}),
      to_out_group_(this, "to_out"),
      to_out_(&to_out_group_, "0", {s.tokens(), s.tokens()}) {}

KeysAndValues Attention::keys_and_values(const Tensor& context) const { return {to_k_(context), to_v_(context)}; }

Tensor Attention::self(const Tensor& x, const LayerNorm& norm) const {
  const Tensor normed = norm(x);
  return attended(x, to_q_(normed), keys_and_values(normed));
}

Tensor Attention::cross(const Tensor& x, const LayerNorm& norm, const KeysAndValues& context) const {
  return attended(x, to_q_(x, {.norm = norm.parameters_for(x)}), context);
}

Tensor Attention::attended(const Tensor& x, const Tensor& queries, const KeysAndValues& context) const {
  const Tensor y = with_path([&] { return attention(queries, context.keys, context.values, options_); });
  return to_out_(y, {.residual = x});
}

FeedForward::FeedForward(Module* parent, std::string name, int64_t channels)
    : Module(parent, std::move(name)),
      net_(this, "net"),
      gate_(&net_, "0"),
      proj_(&gate_, "proj", {channels, 8 * channels}),
      out_(&net_, "2", {4 * channels, channels}) {}

Tensor FeedForward::operator()(const Tensor& x, const LayerNorm& norm) const {
  return out_(gated_activation(proj_(x, {.norm = norm.parameters_for(x)}), gelu_activation), {.residual = x});
}

TransformerBlock::TransformerBlock(Module* parent, std::string name, const TransformerShape& s)
    : Module(parent, std::move(name)),
      attn1_(this, "attn1", s, s.tokens()),
      ff_(this, "ff", s.tokens()),
      attn2_(this, "attn2", s, s.context),
      norm1_(this, "norm1", s.tokens()),
      norm2_(this, "norm2", s.tokens()),
      norm3_(this, "norm3", s.tokens()) {}

Tensor TransformerBlock::operator()(const Tensor& x, const KeysAndValues& text) const {
  return ff_(attn2_.cross(attn1_.self(x, norm1_), norm2_, text), norm3_);
}

PixelProjection::PixelProjection(Module* parent, std::string name, int64_t in, int64_t out, bool linear)
    : Module(parent, std::move(name)) {
  if (linear)
    linear_ = std::make_unique<Linear>(this, "", LinearShape{in, out});
  else
    conv_ = std::make_unique<Conv2d>(this, "", Conv2dShape{in, out, 1});
}

Tensor PixelProjection::operator()(const Tensor& x, const Tensor& residual) const {
  return linear_ ? (*linear_)(x, {.residual = residual}) : (*conv_)(x, {}, residual);
}

SpatialTransformer::SpatialTransformer(Module* parent, std::string name, const TransformerShape& s)
    : Module(parent, std::move(name)),
      shape_(s),
      norm_(this, "norm", s.channels, {.eps = transformer_eps}),
      proj_in_(this, "proj_in", s.channels, s.tokens(), s.linear_projections),
      transformer_blocks_(this, "transformer_blocks"),
      proj_out_(this, "proj_out", s.tokens(), s.channels, s.linear_projections) {
  for (int i = 0; i < s.depth; ++i) transformer_blocks_.add(s);
}

std::vector<KeysAndValues> SpatialTransformer::keys_and_values(const Tensor& context) const {
  std::vector<KeysAndValues> all;
  for (const auto& block : transformer_blocks_) all.push_back(block->keys_and_values(context));
  return all;
}

Tensor SpatialTransformer::operator()(const Tensor& x, std::span<const KeysAndValues> text) const {
  RELUME_BUG(text.size() == transformer_blocks_.size(), path(), ": ", text.size(), " keys and values for ",
             transformer_blocks_.size(), " blocks");
  const Tensor map = proj_in_(norm_(x));
  Tensor tokens = reshape(map, {x.shape(0), x.shape(1) * x.shape(2), shape_.tokens()});
  for (size_t i = 0; i < text.size(); ++i) tokens = transformer_blocks_[i](tokens, text[i]);
  return proj_out_(reshape(tokens, map.shape()), x);
}

}  // namespace relume
