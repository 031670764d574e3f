// The U-Net of Stable Diffusion 2.1 (Rombach et al. 2022, arXiv 2112.10752; spec/diffbir.md 3.1): what a latent's noise is,
// given its time and a text.
//
//   latent --> input_blocks (12) --> middle_block --> output_blocks (12) --> out --> prediction
//                 |                       |                 ^
//                 +---- skips, each + its control map, ------+   the middle's result + the last control map
//
// 686 tensors, 865,910,724 numbers in SD 2.1.
#pragma once

#include "models/unet_stages.h"

namespace relume {

// What a control network adds: maps[k] * strength[k] to the skip of input stage k, the last to what the middle gives.
struct UNetControl {
  std::vector<Tensor> maps;       // none, or one for each input stage and one for the middle
  std::vector<double> strengths;  // of each; none: 1
};

class UNet : public Module {
 public:
  explicit UNet(const UNetConfig& config, Device device = {});

  // x [N, H, W, in_channels] on device() at the times t, f32 [N] on the CPU or their timestep_embedding() of
  // config().model_channels, to the prediction [N, H, W, out_channels] in x's type. H and W are multiples of
  // config().size_multiple(). `text` is keys_and_values() of the text's states, which serves every step of a sampler.
  Tensor operator()(const Tensor& x, const Tensor& t, std::span<const KeysAndValues> text,
                    const UNetControl& control = {}) const;
  // Of the text's states [N, S, context_dim], for every cross attention in the order of use.
  std::vector<KeysAndValues> keys_and_values(const Tensor& context) const;

  int64_t cross_attentions() const;  // how many pairs that are

  const UNetConfig& config() const { return config_; }
  void initialise(uint64_t seed) const { initialise_unet(*this, seed); }
  // The type the network computes in: f32 unless set, bf16, f16. Parameters stay in f32.
  void set_compute_type(DType type) { compute_ = type; }
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }  // per stage

 private:
  std::vector<const UNetStage*> stages() const;  // in the order of use

  UNetConfig config_;
  DType compute_ = DType::f32;
  bool checkpointing_ = false;
  TimeEmbedding time_embed_;
  ModuleList<UNetStage> input_blocks_;
  UNetStage middle_block_;
  ModuleList<UNetStage> output_blocks_;
  Module out_;
  GroupNorm out_norm_;
  Conv2d out_conv_;
};

}  // namespace relume
