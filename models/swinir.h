// SwinIR (Liang et al. 2021, arXiv 2108.10257), the restoration network of DiffBIR's first stage (spec/diffbir.md 2.1).
//
//   picture --(unshuffle)--> conv_first --> [N, H', W', C] --> RSTB x depths.size() --> norm, conv_after_body, + --> upsampler
//   RSTB:  x + conv(blocks(x))     block:  x + attention(norm1(x)), then x + mlp(norm2(x)), odd blocks with shifted windows
//
// Channels last throughout: the published "tokens" [N, H'W', C] are the same memory, so embed and unembed disappear. Parameter
// and buffer names are those of the published checkpoints; the paper's stage one has 15,792,587 parameters.
#pragma once

#include <functional>
#include <memory>

#include "autograd/attention.h"
#include "configs/reader.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/norm.h"

namespace relume {

// Defaults: DiffBIR's stage one. Names and meaning of the published constructor; outer_unshuffle and zero_last are ours.
struct SwinIRConfig {
  int img_size = 64;   // side of the map the shift decision and the stored masks are made for
  int patch_size = 1;  // divides img_size; the network itself always works per pixel of its map
  int in_chans = 3;
  int embed_dim = 180;
  std::vector<int> depths{6, 6, 6, 6, 6, 6, 6, 6};
  std::vector<int> num_heads{6, 6, 6, 6, 6, 6, 6, 6};
  int window_size = 8;
  double mlp_ratio = 2;
  int sf = 8;  // output size / input size without unshuffle
  double img_range = 1;
  std::string upsampler = "nearest+conv";  // or pixelshuffle, pixelshuffledirect, "" (residual picture)
  std::string resi_connection = "1conv";   // or 3conv
  bool unshuffle = true;
  int unshuffle_scale = 8;  // must equal sf when unshuffle is on
  bool qkv_bias = true;
  double qk_scale = 0;  // 0: head_dim^-0.5
  double drop_path_rate = 0.1;
  bool ape = false;  // absolute position embedding
  bool patch_norm = true;
  int outer_unshuffle = 1;  // the whole network between a pixel unshuffle and a shuffle by this factor
  bool zero_last = false;   // initialise conv_last with zeros: with upsampler "" the network starts as the identity

  template <class V> void fields(V&& v) {
    v("img_size", img_size, Range{1, 4096}, "side of the map that decides about shifted windows");
    v("patch_size", patch_size, Range{1, 64}, "divides img_size");
    v("in_chans", in_chans, Range{1, 1024}, "channels of the pictures");
    v("embed_dim", embed_dim, Range{1, 4096}, "channels of the feature map");
    v("depths", depths, Range{1, 64}, "Swin blocks per group");
    v("num_heads", num_heads, Range{1, 256}, "attention heads per group; surplus entries are ignored, as the reference does");
    v("window_size", window_size, Range{1, 64}, "side of an attention window");
    v("mlp_ratio", mlp_ratio, Range{0.01, 64}, "hidden width of the MLP / embed_dim");
    v("sf", sf, Range{1, 64}, "upsampling factor of the tail");
    v("img_range", img_range, Range{1e-6, 65536}, "range of the values inside the network");
    v("upsampler", upsampler, OneOf{{"nearest+conv", "pixelshuffle", "pixelshuffledirect", ""}}, "tail of the network");
    v("resi_connection", resi_connection, OneOf{{"1conv", "3conv"}}, "convolutions that end a group");
    v("unshuffle", unshuffle, "pixel unshuffle by sf in front");
    v("unshuffle_scale", unshuffle_scale, Range{1, 64}, "must equal sf");
    v("qkv_bias", qkv_bias, "bias of the query, key and value projections");
    v("qk_scale", qk_scale, Range{0, 1000}, "factor of the queries, 0 for head_dim^-0.5");
    v("drop_path_rate", drop_path_rate, Range{0, 0.99}, "stochastic depth of the last block");
    v("ape", ape, "absolute position embedding");
    v("patch_norm", patch_norm, "LayerNorm after conv_first");
    v("outer_unshuffle", outer_unshuffle, Range{1, 16}, "pixel unshuffle around the whole network");
    v("zero_last", zero_last, "start with conv_last at zero");
  }
  void validate() const;  // rules between fields; InputError
  bool output_is_input_size() const { return unshuffle || sf == 1; }
};

// What the blocks of one group share, derived from the configuration.
struct SwinBlockShape {
  int64_t channels = 0, hidden = 0;
  int heads = 1, window = 8;
  int height = 64, width = 64;  // of the map that decides about shifts and that the stored masks are made for
  double scale = 0;
  bool qkv_bias = true;
};

// Factor per sample of residual branch `branch` (0, 1, 2, … in order of use), f32 [samples] on the network's device, for a drop
// probability above 0.
using DropPathSource = std::function<Tensor(int branch, double probability, int64_t samples)>;

class WindowAttention : public Module {
 public:
  WindowAttention(Module* parent, std::string name, const SwinBlockShape& shape, int shift);
  // x + sample_scale * attention(norm(x)), [N, H, W, C]; sample_scale may be undefined.
  Tensor operator()(const Tensor& x, const LayerNorm& norm, const Tensor& sample_scale) const;

  Tensor relative_position_bias_table;  // [(2w-1)^2, heads]
  Linear qkv, proj;

 private:
  WindowAttentionOptions options_;
};

class Mlp : public Module {
 public:
  Mlp(Module* parent, std::string name, int64_t channels, int64_t hidden);
  // x + sample_scale * mlp(norm(x)), [..., C]; sample_scale may be undefined.
  Tensor operator()(const Tensor& x, const LayerNorm& norm, const Tensor& sample_scale) const;
  Linear fc1, fc2;
};

class SwinBlock : public Module {
 public:
  // `index` counts the blocks of the whole network; `drop` is its drop probability.
  SwinBlock(Module* parent, std::string name, const SwinBlockShape& shape, int shift, int index, double drop);
  Tensor operator()(const Tensor& x, const DropPathSource& drop_path) const;  // [N, H, W, C]

  LayerNorm norm1;
  WindowAttention attn;
  LayerNorm norm2;
  Mlp mlp;

 private:
  // f32 [samples] for residual branch `which`; undefined where nothing is dropped.
  Tensor branch_scale(int which, int64_t samples, const DropPathSource& drop_path) const;
  int index_;
  double drop_;
};

// "1conv": one convolution under the module's own name; "3conv": entries 0, 2 and 4.
class BodyConv : public Module {
 public:
  BodyConv(Module* parent, std::string name, int64_t channels, bool three);
  Tensor operator()(const Tensor& x, const Tensor& residual) const;

 private:
  std::unique_ptr<Conv2d> single_, first_, second_, third_;
};

// Residual Swin transformer block.
class Rstb : public Module {
 public:
  // drops: drop probability per block; first_index: number of the first block in the whole network.
  Rstb(Module* parent, std::string name, const SwinBlockShape& shape, const std::vector<double>& drops, int first_index,
       bool three_convs);
  Tensor operator()(const Tensor& x, const DropPathSource& drop_path) const;  // [N, H, W, C]

 private:
  Module residual_group_;
  ModuleList<SwinBlock> blocks_;
  BodyConv conv_;
};

class SwinIR : public Module {
 public:
  explicit SwinIR(const SwinIRConfig& config, Device device = {});

  // x [N, H, W, in_chans] in [0, 1] to [N, H*s, W*s, in_chans], s = 1 with unshuffle, else sf; about [0, 1], not clamped.
  // H and W are multiples of size_multiple(); x lies on device().
  Tensor operator()(const Tensor& x) const;

  int size_multiple() const;     // what H and W must be multiples of; 1 when the network pads by itself
  int padding_multiple() const;  // what a pipeline pads pictures to (spec 5.2: 64 for the paper's network)
  int output_scale() const;      // output size / input size
  const SwinIRConfig& config() const { return config_; }
  void initialise(uint64_t seed) const;  // spec 2.1, "Init"
  void set_drop_path(DropPathSource source) { drop_path_ = std::move(source); }
  // The type the network computes in: f32 unless set, bf16, f16. Pictures come and go, and parameters stay, in f32.
  void set_compute_type(DType type) { compute_ = type; }
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }  // per RSTB

 private:
  Tensor features(const Tensor& x) const;                                    // norm(RSTBs(embed(x)))
  Tensor network(const Tensor& x) const;                                     // without outer unshuffle
  Tensor tail(const Tensor& x) const;                                        // the upsampler
  Tensor residual_picture(const Tensor& deep, const Tensor& picture) const;  // without one

  SwinIRConfig config_;
  std::vector<double> mean_;
  DropPathSource drop_path_;
  bool checkpointing_ = false;
  DType compute_ = DType::f32;

  std::unique_ptr<Module> conv_first_group_;  // "conv_first" when the convolution is its entry 1
  std::unique_ptr<Conv2d> conv_first_;
  std::unique_ptr<Module> patch_embed_;
  std::unique_ptr<LayerNorm> patch_norm_;
  Tensor absolute_pos_embed_;
  std::unique_ptr<ModuleList<Rstb>> layers_;
  std::unique_ptr<LayerNorm> norm_;
  std::unique_ptr<BodyConv> conv_after_body_;
  std::unique_ptr<Module> conv_before_upsample_group_, upsample_group_;
  std::unique_ptr<Conv2d> conv_before_upsample_, conv_hr_, conv_last_;
  std::vector<std::unique_ptr<Conv2d>> upsample_;  // conv_up1.. or upsample.0, .2, ..
};

}  // namespace relume
