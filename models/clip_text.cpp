#include "models/clip_text.h"

#include <cmath>

#include "autograd/attention.h"
#include "layers/init.h"

namespace relume {
namespace {

// Before any memory is taken.
const ClipTextConfig& validated(const ClipTextConfig& config) {
  config.validate();
  return config;
}

}  // namespace

void ClipTextConfig::validate() const {
  RELUME_CHECK(width % heads == 0, "width ", width, " is no multiple of ", heads, " heads");
  RELUME_CHECK(layers > 1 || layer == "last", "layer penultimate needs two blocks; layers is ", layers);
}

ClipAttention::ClipAttention(Module* parent, std::string name, const ClipTextConfig& c)
    : Module(parent, std::move(name)),
      in_proj_weight(parameter("in_proj_weight", {3 * int64_t(c.width), c.width})),
      in_proj_bias(parameter("in_proj_bias", {3 * int64_t(c.width)})),
      out_proj(this, "out_proj", {c.width, c.width}),
      heads_(c.heads) {}

Tensor ClipAttention::operator()(const Tensor& x, const LayerNorm& norm) const {
  return with_path([&] {
    const Tensor qkv =
        linear(x, parameter_for(x, in_proj_weight), parameter_for(x, in_proj_bias), {.norm = norm.parameters_for(x)});
    const double head_dim = double(x.shape(-1)) / heads_;
    const Tensor y = self_attention(qkv, {.heads = heads_, .scale = 1 / std::sqrt(head_dim), .causal = true});
    return out_proj(y, {.residual = x});
  });
}

ClipMlp::ClipMlp(Module* parent, std::string name, int64_t width)
    : Module(parent, std::move(name)), c_fc(this, "c_fc", {width, 4 * width}), c_proj(this, "c_proj", {4 * width, width}) {}

Tensor ClipMlp::operator()(const Tensor& x, const LayerNorm& norm) const {
  return with_path([&] {
    // Not residual_mlp(), which keeps packed copies of weights that are used once for each text.
    return c_proj(c_fc(x, {.act = gelu_activation, .norm = norm.parameters_for(x)}), {.residual = x});
  });
}

ClipBlock::ClipBlock(Module* parent, std::string name, const ClipTextConfig& c)
    : Module(parent, std::move(name)),
      ln_1(this, "ln_1", c.width),
      attn(this, "attn", c),
      ln_2(this, "ln_2", c.width),
      mlp(this, "mlp", c.width) {}

Tensor ClipBlock::operator()(const Tensor& x) const { return mlp(attn(x, ln_1), ln_2); }

ClipText::ClipText(Module* parent, std::string name, const ClipTextConfig& c, Device device)
    : Module(parent, std::move(name), device),
      config_(validated(c)),
      positional_embedding_(parameter("positional_embedding", {c.context_length, c.width})),
      text_projection_(parameter("text_projection", {c.width, c.embed_dim})),
      logit_scale_(parameter("logit_scale", {})),
      transformer_(this, "transformer"),
      blocks_(&transformer_, "resblocks"),
      token_embedding_(this, "token_embedding", {c.vocab_size, c.width}),
      ln_final_(this, "ln_final", c.width) {
  for (int i = 0; i < c.layers; ++i) blocks_.add(c);
}

Tensor ClipText::operator()(const Tensor& ids) const {
  RELUME_CHECK(ids.rank() == 2 && ids.shape(1) == config_.context_length, "text encoder: ids ", ids,
               " given; expected i64 [N, ", config_.context_length, "]");
  const auto in_full = [](const Tensor& t) { return cast(t, DType::f32); };
  const Tensor tokens = add_rows(in_full(token_embedding_(ids)), in_full(positional_embedding_));
  const size_t used = blocks_.size() - (config_.layer == "penultimate" ? 1 : 0);
  Tensor x = cast(tokens, compute_);
  for (size_t i = 0; i < used; ++i) x = blocks_[i](x);
  return in_full(ln_final_(x));
}

void ClipText::initialise(uint64_t seed) const {
  const double in = 1 / std::sqrt(double(config_.width)), out = in / std::sqrt(2.0 * config_.layers);
  for (const NamedTensor& p : parameters()) {
    const auto normal = [&](double stddev) { init_normal(p.tensor, stddev, seed, p.name); };
    if (p.name == "positional_embedding")
      normal(0.01);
    else if (p.name == "token_embedding.weight")
      normal(0.02);
    else if (p.name == "logit_scale")
      init_constant(p.tensor, std::log(1 / 0.07));
    else if (p.name.ends_with("c_fc.weight"))
      normal(in / std::sqrt(2.0));
    else if (p.name.ends_with("_proj.weight"))
      normal(out);
    else if (p.tensor.rank() == 2)
      normal(in);
    else
      init_constant(p.tensor, p.name.ends_with("weight") ? 1 : 0);  // norms; biases
  }
}

}  // namespace relume
