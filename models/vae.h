// AutoencoderKL (Rombach et al. 2022, arXiv 2112.10752), the autoencoder of Stable Diffusion: pictures to latents of an eighth
// of their size and back (spec/diffbir.md 3.3).
//
//   encode:  conv_in --> [ResnetBlock x n, halved] per level --> middle --> norm_out, SiLU, conv_out --> quant_conv
//   decode:  post_quant_conv --> conv_in --> middle --> [ResnetBlock x (n + 1), doubled] per level, the last one first
//            --> norm_out, SiLU, conv_out
//   middle:  ResnetBlock, AttnBlock, ResnetBlock
//
// Parameter names are those of the published checkpoints below "first_stage_model."; Stable Diffusion's has 83,653,863
// parameters. It computes in the type of what it is given.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "configs/reader.h"
#include "layers/conv2d.h"
#include "layers/init.h"
#include "layers/norm.h"

namespace relume {

// Defaults: Stable Diffusion's. Names and meaning of the published constructor.
struct AutoencoderConfig {
  int embed_dim = 4;     // channels of the latents that leave the autoencoder
  int z_channels = 4;    // channels of the latents inside it
  int resolution = 256;  // nominal side of a picture: attn_resolutions are told from it
  int in_channels = 3;
  int out_ch = 3;
  int ch = 128;                          // channels of the first level, a multiple of 32
  std::vector<int> ch_mult{1, 2, 4, 4};  // channels of a level / ch; each level but the last halves the size
  int num_res_blocks = 2;
  std::vector<int> attn_resolutions{};  // nominal sides of the maps with an attention behind every residual block

  template <class V> void fields(V&& v) {
    v("embed_dim", embed_dim, Range{1, 1024}, "channels of the latents");
    v("z_channels", z_channels, Range{1, 1024}, "channels of the latents inside the autoencoder");
    v("resolution", resolution, Range{1, 65536}, "nominal side of a picture");
    v("in_channels", in_channels, Range{1, 1024}, "channels of the pictures that are encoded");
    v("out_ch", out_ch, Range{1, 1024}, "channels of the pictures that are decoded");
    v("ch", ch, Range{32, 4096}, "channels of the first level");
    v("ch_mult", ch_mult, Range{1, 64}, "channels of each level / ch");
    v("num_res_blocks", num_res_blocks, Range{1, 64}, "residual blocks of each level of the encoder");
    v("attn_resolutions", attn_resolutions, Range{1, 65536}, "nominal sides of the maps with attention");
  }
  void validate() const;  // rules between fields; InputError
  int64_t channels(size_t level) const { return int64_t(ch) * ch_mult[level]; }
  bool attends(size_t level) const;
  int reduction() const { return 1 << (ch_mult.size() - 1); }  // side of a picture / side of its latents
};

class AttnBlock;

// A step on the way through the encoder or the decoder, for those who go it in pieces: norms are where all pieces must meet.
struct AutoencoderStep {
  const GroupNorm* norm = nullptr;       // comes first; null: none
  const Conv2d* conv = nullptr;          // what it does behind the norm: this convolution
  const AttnBlock* attention = nullptr;  // or this attention, and one of the two is null
  bool keeps = false;                    // its input, as it is ahead of the norm, is kept
  bool adds = false;                     // what was kept is added to its result
  const Conv2d* shortcut = nullptr;      // through this convolution of single pixels; null: as it is

  // What it makes of the normalised input, with what was kept.
  Tensor behind_norm(const Tensor& normed, const Tensor& kept) const;
};
using AutoencoderSteps = std::vector<AutoencoderStep>;

// x + conv2(SiLU(norm2(conv1(SiLU(norm1(x)))))), the x in front through a 1x1 convolution where the channels change.
class ResnetBlock : public Module {
 public:
  ResnetBlock(Module* parent, std::string name, int64_t in, int64_t out);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, in] to [N, H, W, out]
  void list_steps(AutoencoderSteps& steps) const;

 private:
  GroupNorm norm1_;
  Conv2d conv1_;
  GroupNorm norm2_;
  Conv2d conv2_;
  std::optional<Conv2d> nin_shortcut_;
};

// x + proj_out(attention of all pixels among each other), one head of all channels.
class AttnBlock : public Module {
 public:
  AttnBlock(Module* parent, std::string name, int64_t channels);
  Tensor operator()(const Tensor& x) const;                      // [N, H, W, channels]
  Tensor attended(const Tensor& normed, const Tensor& x) const;  // behind the norm
  void list_steps(AutoencoderSteps& steps) const;

 private:
  GroupNorm norm_;
  Conv2d q_, k_, v_, proj_out_;
};

// The blocks of one size of the map, and the convolution that leads to the next.
struct AutoencoderLevelShape {
  enum class Resample { none, halve, twice };
  int64_t in = 0, out = 0;
  int blocks = 0;
  bool attention = false;  // behind every block
  Resample resample = Resample::none;
};
class AutoencoderLevel : public Module {
 public:
  AutoencoderLevel(Module* parent, std::string name, const AutoencoderLevelShape& shape);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, in] to [N, H', W', out]
  void list_steps(AutoencoderSteps& steps) const;

 private:
  ModuleList<ResnetBlock> block_;
  ModuleList<AttnBlock> attn_;
  std::unique_ptr<Module> resample_group_;  // "downsample" or "upsample"
  std::unique_ptr<Conv2d> resample_;
};

class AutoencoderMiddle : public Module {
 public:
  AutoencoderMiddle(Module* parent, std::string name, int64_t channels);
  Tensor operator()(const Tensor& x) const;
  void list_steps(AutoencoderSteps& steps) const;

 private:
  ResnetBlock block_1_;
  AttnBlock attn_1_;
  ResnetBlock block_2_;
};

class AutoencoderEncoder : public Module {
 public:
  AutoencoderEncoder(Module* parent, std::string name, const AutoencoderConfig& config);
  Tensor operator()(const Tensor& x) const;  // [N, H, W, in_channels] to [N, h, w, 2 * z_channels]
  AutoencoderSteps steps() const;

 private:
  Conv2d conv_in_;
  ModuleList<AutoencoderLevel> down_;
  AutoencoderMiddle mid_;
  GroupNorm norm_out_;
  Conv2d conv_out_;
};

class AutoencoderDecoder : public Module {
 public:
  AutoencoderDecoder(Module* parent, std::string name, const AutoencoderConfig& config);
  Tensor operator()(const Tensor& z) const;  // [N, h, w, z_channels] to [N, H, W, out_ch]
  AutoencoderSteps steps() const;

 private:
  Conv2d conv_in_;
  AutoencoderMiddle mid_;
  ModuleList<AutoencoderLevel> up_;  // the first has the size of the picture: it comes last
  GroupNorm norm_out_;
  Conv2d conv_out_;
};

// What a picture is encoded to: a normal distribution, independent for every number of the latents [N, h, w, embed_dim].
struct DiagonalGaussian {
  explicit DiagonalGaussian(const Tensor& moments);  // [N, h, w, 2 * embed_dim]: means, then logarithms of the variances

  Tensor deviation() const;                  // exp(logvar / 2)
  Tensor sample(const Tensor& noise) const;  // mean + deviation * noise
  Tensor divergence() const;                 // [N]: from the standard normal distribution (Kullback-Leibler), summed

  Tensor mean;    // the mode, too
  Tensor logvar;  // within [-30, 20]
};

// f(sample [1, ...]) of each sample of a batch, put together.
Tensor sample_by_sample(const Tensor& batch, const std::function<Tensor(const Tensor&)>& f);

class AutoencoderKL : public Module {
 public:
  explicit AutoencoderKL(const AutoencoderConfig& config, Device device = {});

  // Pictures [N, H, W, in_channels] in [-1, 1], sides of at least reduction(), to their latents, which have no scale factor yet
  // (Stable Diffusion multiplies by 0.18215). Sides that are no multiple of reduction() lose the rest.
  DiagonalGaussian encode(const Tensor& pictures) const { return DiagonalGaussian(moments(pictures)); }
  Tensor moments(const Tensor& pictures) const { return quant_conv(encoded(pictures)); }  // [N, h, w, 2 * embed_dim]
  Tensor encoded(const Tensor& pictures) const;  // [N, h, w, 2 * z_channels]: what the encoder itself gives
  // Latents [N, h, w, embed_dim] to pictures [N, H, W, out_ch], about [-1, 1], not clamped.
  Tensor decode(const Tensor& latents) const;
  // Large maps under NoGrad go through both in strips (models/autoencoder_strips.h): the same numbers in less memory.

  const AutoencoderConfig& config() const { return config_; }
  void initialise(uint64_t seed) const { init_parameters(*this, seed); }

 private:
  bool in_strips(const Tensor& x, int64_t enlarged) const;

  AutoencoderConfig config_;

 public:
  AutoencoderEncoder encoder;
  AutoencoderDecoder decoder;
  Conv2d quant_conv, post_quant_conv;
};

}  // namespace relume
