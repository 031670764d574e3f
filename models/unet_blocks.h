// The blocks of Stable Diffusion's U-Net (Rombach et al. 2022, arXiv 2112.10752; spec/diffbir.md 3.1) on maps [N, H, W, C].
// Names are those of the published checkpoints.
//
//   ResBlock:            skip(x) + conv(silu(norm(conv(silu(norm(x))) + linear(emb))))
//   SpatialTransformer:  x + proj_out(blocks(proj_in(norm(x)))), a token for each pixel
//   TransformerBlock:    x + attn1(norm1(x)), x + attn2(norm2(x), text), x + ff(norm3(x))
#pragma once

#include <memory>
#include <span>

#include "autograd/attention.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/norm.h"

namespace relume {

// f32 [N, width] of the times t, f32 [N], both on the CPU: the cosines, then the sines, of t times width / 2 frequencies that
// fall from 1 towards 1 / 10000. Times may be fractional. An odd width ends in a zero.
Tensor timestep_embedding(const Tensor& t, int64_t width);

// The time embedding behind a SiLU, which is what every block begins with.
class TimeEmbedding : public Module {
 public:
  TimeEmbedding(Module* parent, std::string name, int64_t channels);
  // t, f32 [N] on the CPU, or its timestep_embedding() of `channels` on any device, to [N, 4 * channels] on device(), computed
  // in `dtype`.
  Tensor operator()(const Tensor& t, DType dtype) const;

 private:
  Linear first_, second_;
};

enum class Resample { none, down, up };  // by two: the mean of 2 x 2 pixels, each pixel repeated

struct ResBlockShape {
  int64_t in = 0, out = 0, embedding = 0;
  bool scale_shift = false;  // the embedding scales and shifts the second norm's result, instead of being added before it
  Resample resample = Resample::none;
};

class ResBlock : public Module {
 public:
  ResBlock(Module* parent, std::string name, const ResBlockShape& shape);
  // x [N, H, W, in] to [N, H', W', out]; emb [N, embedding] is the time embedding behind its SiLU. Down: H and W are even.
  Tensor operator()(const Tensor& x, const Tensor& emb) const;

 private:
  ResBlockShape shape_;
  Module in_layers_;
  GroupNorm in_norm_;
  Conv2d in_conv_;
  Module emb_layers_;
  Linear emb_;
  Module out_layers_;
  GroupNorm out_norm_;
  Conv2d out_conv_;
  std::unique_ptr<Conv2d> skip_;  // where the number of channels changes
};

// What attention looks at: [N, S, channels] each.
struct KeysAndValues {
  Tensor keys, values;
};

struct TransformerShape {
  int64_t channels = 0;  // of the map
  int heads = 1;
  int64_t head_channels = 0;       // the tokens have heads * head_channels
  int64_t context = 0;             // width of the text's states
  int depth = 1;                   // blocks in series, which all see the same text
  bool linear_projections = true;  // as the names and shapes of proj_in and proj_out are: linear maps, or convolutions of 1 x 1

  int64_t tokens() const { return heads * head_channels; }
};

class Attention : public Module {
 public:
  Attention(Module* parent, std::string name, const TransformerShape& shape, int64_t context);
  // Projections of context [N, S, width].
  KeysAndValues keys_and_values(const Tensor& context) const;
  Tensor self(const Tensor& x, const LayerNorm& norm) const;                                 // x + attention among norm(x)
  Tensor cross(const Tensor& x, const LayerNorm& norm, const KeysAndValues& context) const;  // x + attention of norm(x)

 private:
  Tensor attended(const Tensor& x, const Tensor& queries, const KeysAndValues& context) const;
  AttentionOptions options_;
  Linear to_q_, to_k_, to_v_;
  Module to_out_group_;
  Linear to_out_;
};

class FeedForward : public Module {
 public:
  FeedForward(Module* parent, std::string name, int64_t channels);
  Tensor operator()(const Tensor& x, const LayerNorm& norm) const;  // x + ff(norm(x)), GEGLU of four times the channels

 private:
  Module net_, gate_;
  Linear proj_, out_;
};

class TransformerBlock : public Module {
 public:
  TransformerBlock(Module* parent, std::string name, const TransformerShape& shape);
  Tensor operator()(const Tensor& x, const KeysAndValues& text) const;  // x [N, L, tokens()]
  KeysAndValues keys_and_values(const Tensor& context) const { return attn2_.keys_and_values(context); }

 private:
  Attention attn1_;
  FeedForward ff_;
  Attention attn2_;
  LayerNorm norm1_, norm2_, norm3_;
};

// A map's projection onto tokens or back: a linear map of each pixel, which some files keep as a convolution.
class PixelProjection : public Module {
 public:
  PixelProjection(Module* parent, std::string name, int64_t in, int64_t out, bool linear);
  Tensor operator()(const Tensor& x, const Tensor& residual = {}) const;  // [N, H, W, in] to [N, H, W, out]

 private:
  std::unique_ptr<Linear> linear_;
  std::unique_ptr<Conv2d> conv_;
};

class SpatialTransformer : public Module {
 public:
  SpatialTransformer(Module* parent, std::string name, const TransformerShape& shape);
  // x [N, H, W, channels]; text holds what keys_and_values() gives.
  Tensor operator()(const Tensor& x, std::span<const KeysAndValues> text) const;
  // Of the text's states [N, S, context], one pair for each block.
  std::vector<KeysAndValues> keys_and_values(const Tensor& context) const;
  int64_t depth() const { return int64_t(transformer_blocks_.size()); }

 private:
  TransformerShape shape_;
  GroupNorm norm_;
  PixelProjection proj_in_;
  ModuleList<TransformerBlock> transformer_blocks_;
  PixelProjection proj_out_;
};

}  // namespace relume
