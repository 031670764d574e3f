// The text tower of CLIP (Radford et al. 2021) as OpenCLIP trained it, ViT-H/14, which Stable Diffusion 2 conditions on
// (spec/diffbir.md 3.4).
//
//   ids --> token_embedding + positional_embedding --> blocks --> ln_final --> [N, context_length, width]
//   block:  x + out_proj(attention(in_proj(ln_1(x)))), then x + c_proj(gelu(c_fc(ln_2(x)))); a token sees those before it alone
//
// Names are those inside a checkpoint of Stable Diffusion 2 behind "cond_stage_model.model."; its tower has 354,032,641
// parameters in 294 tensors. Of these a file holds some that nothing is computed with: text_projection and logit_scale, which
// belong to CLIP's training, and the last block where the states in front of it are asked for.
#pragma once

#include "configs/reader.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/norm.h"

namespace relume {

// Defaults: the tower of Stable Diffusion 2. Names and meaning of OpenCLIP's text_cfg.
struct ClipTextConfig {
  int vocab_size = 49408;
  int context_length = 77;
  int width = 1024;
  int heads = 16;
  int layers = 24;
  int embed_dim = 1024;               // what text_projection leads to
  std::string layer = "penultimate";  // or last: after which block the states are taken

  template <class V> void fields(V&& v) {
    v("vocab_size", vocab_size, Range{1, 1 << 20}, "rows of the token embedding");
    v("context_length", context_length, Range{1, 4096}, "tokens of a prompt, padding included");
    v("width", width, Range{1, 16384}, "channels");
    v("heads", heads, Range{1, 256}, "attention heads");
    v("layers", layers, Range{1, 256}, "blocks");
    v("embed_dim", embed_dim, Range{1, 16384}, "channels behind text_projection");
    v("layer", layer, OneOf{{"penultimate", "last"}}, "after which block the states are taken");
  }
  void validate() const;  // rules between fields; InputError
};

class ClipAttention : public Module {
 public:
  ClipAttention(Module* parent, std::string name, const ClipTextConfig& config);
  Tensor operator()(const Tensor& x, const LayerNorm& norm) const;  // x + attention(norm(x)), [N, L, width]

  Tensor in_proj_weight, in_proj_bias;  // [3*width, width], [3*width]: queries, keys, values
  Linear out_proj;

 private:
  int heads_;
};

class ClipMlp : public Module {
 public:
  ClipMlp(Module* parent, std::string name, int64_t width);
  Tensor operator()(const Tensor& x, const LayerNorm& norm) const;  // x + mlp(norm(x)), [N, L, width]
  Linear c_fc, c_proj;
};

class ClipBlock : public Module {
 public:
  ClipBlock(Module* parent, std::string name, const ClipTextConfig& config);
  Tensor operator()(const Tensor& x) const;  // [N, L, width]

  LayerNorm ln_1;
  ClipAttention attn;
  LayerNorm ln_2;
  ClipMlp mlp;
};

class ClipText : public Module {
 public:
  // A child of `parent`, or a root (null) on `device`.
  ClipText(Module* parent, std::string name, const ClipTextConfig& config, Device device = {});

  // ids i64 [N, context_length] on device(), as data/tokenizer.h gives them, to the states of all tokens, f32 [N,
  // context_length, width]: normalised, not pooled, not projected.
  Tensor operator()(const Tensor& ids) const;

  const ClipTextConfig& config() const { return config_; }
  void initialise(uint64_t seed) const;  // as OpenCLIP does
  // The type the network computes in: f32 unless set, bf16, f16. Parameters stay, and states come, in f32.
  void set_compute_type(DType type) { compute_ = type; }

 private:
  ClipTextConfig config_;
  DType compute_ = DType::f32;
  Tensor positional_embedding_, text_projection_, logit_scale_;
  Module transformer_;
  ModuleList<ClipBlock> blocks_;
  Embedding token_embedding_;
  LayerNorm ln_final_;
};

}  // namespace relume
