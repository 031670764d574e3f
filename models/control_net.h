// IRControlNet (Lin et al. 2023, DiffBIR, arXiv 2308.15070; spec/diffbir.md 3.2): a copy of the U-Net's way down that sees the
// condition's latent beside the noisy one, and steers the U-Net through convolutions that start at zero.
//
//   [latent | condition] --> input_blocks (12) --> middle_block
//                               |                    |
//                          zero_convs (12)     middle_block_out        13 control maps
//
// 324 tensors, 363,153,280 numbers beside SD 2.1.
#pragma once

#include "models/unet.h"

namespace relume {

// Names and meaning of the published constructor.
struct ControlNetConfig {
  UNetConfig unet;        // of the network that is steered
  int hint_channels = 4;  // of the condition's latent

  template <class V> void fields(V&& v) {
    unet.fields(v);
    v("hint_channels", hint_channels, Range{1, 1024}, "channels of the condition's latent");
  }
  void validate() const { unet.validate(); }
};

class ControlNet : public Module {
 public:
  explicit ControlNet(const ControlNetConfig& config, Device device = {});

  // x [N, H, W, in_channels] and hint [N, H, W, hint_channels] on device() at the times t, as the U-Net takes them,
  // to the maps of UNetControl, in the type the network computes in. H and W are multiples of config().unet.size_multiple().
  // `text` is this network's keys_and_values() of the text's states.
  std::vector<Tensor> operator()(const Tensor& x, const Tensor& hint, const Tensor& t,
                                 std::span<const KeysAndValues> text) const;
  // Of the text's states [N, S, context_dim], for every cross attention in the order of use.
  std::vector<KeysAndValues> keys_and_values(const Tensor& context) const;

  const ControlNetConfig& config() const { return config_; }
  void initialise(uint64_t seed) const { initialise_unet(*this, seed); }
  // Copies what the U-Net has under the same name. The first convolution's channels of the condition become zero; what the
  // U-Net lacks, the zero convolutions, stays what it is. InputError where a shape differs.
  void initialise_from(const UNet& unet) const;
  void set_compute_type(DType type) { compute_ = type; }               // f32 unless set, bf16, f16; parameters stay in f32
  void set_activation_checkpointing(bool on) { checkpointing_ = on; }  // per stage

 private:
  std::vector<const UNetStage*> stages() const;  // of the U-Net's way down, in the order of use

  ControlNetConfig config_;
  DType compute_ = DType::f32;
  bool checkpointing_ = false;
  TimeEmbedding time_embed_;
  ModuleList<UNetStage> input_blocks_;
  ModuleList<UNetStage> zero_convs_;
  UNetStage middle_block_;
  UNetStage middle_block_out_;
};

}  // namespace relume
