// What Stable Diffusion's U-Net and IRControlNet are put together from: the configuration, the stages (the entries of
// input_blocks and output_blocks, and the middle) that follow from it, and a pass through them.
#pragma once

#include <span>

#include "configs/reader.h"
#include "models/unet_blocks.h"

namespace relume {

// Defaults: SD 2.1. Names and meaning of the published constructor (spec/diffbir.md 3.1).
struct UNetConfig {
  int in_channels = 4;
  int out_channels = 4;
  int model_channels = 320;  // of the first stage; a multiple of 32, as all groups of the norms are
  std::vector<int> channel_mult{1, 2, 4, 4};
  int num_res_blocks = 2;                           // per level going down; one more going up
  std::vector<int> attention_resolutions{4, 2, 1};  // factors of reduction at which transformers stand
  int num_head_channels = 64;
  int transformer_depth = 1;
  int context_dim = 1024;  // width of the text's states
  bool use_linear_in_transformer = true;
  bool use_scale_shift_norm = false;
  bool resblock_updown = false;  // residual blocks resample, instead of convolutions

  template <class V> void fields(V&& v) {
    v("in_channels", in_channels, Range{1, 1024}, "channels of the latents");
    v("out_channels", out_channels, Range{1, 1024}, "channels of the prediction");
    v("model_channels", model_channels, Range{32, 8192}, "channels of the first stage");
    v("channel_mult", channel_mult, Range{1, 64}, "channels of each level / model_channels");
    v("num_res_blocks", num_res_blocks, Range{1, 64}, "residual blocks of each level");
    v("attention_resolutions", attention_resolutions, Range{1, 4096}, "factors of reduction at which transformers stand");
    v("num_head_channels", num_head_channels, Range{1, 8192}, "channels of an attention head");
    v("transformer_depth", transformer_depth, Range{1, 64}, "blocks of a transformer");
    v("context_dim", context_dim, Range{1, 65536}, "width of the text's states");
    v("use_linear_in_transformer", use_linear_in_transformer, "linear projections in transformers, not 1x1 convolutions");
    v("use_scale_shift_norm", use_scale_shift_norm, "the time embedding scales and shifts the second norm of a block");
    v("resblock_updown", resblock_updown, "residual blocks resample, not convolutions");
  }
  void validate() const;  // rules between fields; InputError
  int levels() const { return int(channel_mult.size()); }
  int size_multiple() const { return 1 << (levels() - 1); }  // what the height and width of latents are multiples of
};

struct UNetLayerShape {
  enum class Kind { convolution, pointwise, residual, transformer, downsample, upsample } kind;  // pointwise: 1x1
  int64_t in = 0, out = 0;                                                                       // channels
};
using UNetStageShape = std::vector<UNetLayerShape>;

std::vector<UNetStageShape> input_stages(const UNetConfig& config, int64_t in_channels);
UNetStageShape middle_stage(const UNetConfig& config);
std::vector<UNetStageShape> output_stages(const UNetConfig& config);

// Layers in series, named by their numbers.
class UNetStage : public Module {
 public:
  UNetStage(Module* parent, std::string name, const UNetConfig& config, const UNetStageShape& shape);
  // x [N, H, W, C] to [N, H', W', C']; emb [N, 4 * model_channels] is the time embedding behind its SiLU; text holds what
  // keys_and_values() gives.
  Tensor operator()(const Tensor& x, const Tensor& emb, std::span<const KeysAndValues> text) const;
  // Of the text's states [N, S, context_dim], one pair for each cross attention.
  std::vector<KeysAndValues> keys_and_values(const Tensor& context) const;
  int64_t cross_attentions() const;

 private:
  struct Layer {  // one of conv, residual, transformer; `group` where the convolution has a name of its own below its number
    std::unique_ptr<Module> group;
    std::unique_ptr<Conv2d> conv;
    std::unique_ptr<ResBlock> residual;
    std::unique_ptr<SpatialTransformer> transformer;
  };
  Layer layer(const UNetConfig& config, const UNetLayerShape& shape);
  std::vector<Layer> layers_;
};

// One forward pass: what it hands to its stages, in their order. With checkpointing a stage keeps its inputs alone; values and
// gradients are the same, bit by bit.
class UNetPass {
 public:
  UNetPass(Tensor emb, std::span<const KeysAndValues> text, bool checkpointing)
      : emb_(std::move(emb)), text_(text), checkpointing_(checkpointing) {}
  // The stage's result for x, or for x and `skip` side by side.
  Tensor operator()(const UNetStage& stage, const Tensor& x, const Tensor& skip = {});

 private:
  Tensor emb_;
  std::span<const KeysAndValues> text_;  // of the stages to come
  bool checkpointing_;
};

int64_t cross_attentions(std::span<const UNetStage* const> stages);

// Of the text's states [N, S, context_dim], for every cross attention of the stages in their order.
std::vector<KeysAndValues> keys_and_values(std::span<const UNetStage* const> stages, const Tensor& context);

// InputError unless x is [N, H, W, channels] with sizes that the levels divide, t f32 [N] or
// [N, model_channels] and `text` what keys_and_values() gives for N samples. `who` begins the message.
void check_unet_inputs(const char* who, const UNetConfig& config, int64_t channels, std::span<const UNetStage* const> stages,
                       const Tensor& x, const Tensor& t, std::span<const KeysAndValues> text);

// Weights of a U-Net or a control network as the reference draws them: uniform in +-fan_in^-1/2, norms the identity, and zeros
// in what ends a residual branch, the network or a control map.
void initialise_unet(const Module& network, uint64_t seed);

}  // namespace relume
