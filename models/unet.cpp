#include "models/unet.h"

namespace relume {

namespace {

// h + strength * the k-th control map, if there is control.
Tensor controlled(const Tensor& h, const UNetControl& control, size_t k) {
  if (control.maps.empty()) return h;
  const double strength = control.strengths.empty() ? 1 : control.strengths[k];
  if (strength == 0) return h;
  const Tensor map = cast(control.maps[k], h.dtype());
  return add(h, strength == 1 ? map : scale(map, strength));
}

}  // namespace

UNet::UNet(const UNetConfig& config, Device device)
    : Module(nullptr, "", device),
      config_((config.validate(), config)),
      time_embed_(this, "time_embed", config_.model_channels),
      input_blocks_(this, "input_blocks"),
      middle_block_(this, "middle_block", config_, middle_stage(config_)),
      output_blocks_(this, "output_blocks"),
      out_(this, "out"),
      out_norm_(&out_, "0", config_.model_channels, {.act = silu_activation}),
      out_conv_(&out_, "2", {config_.model_channels, config_.out_channels}) {
  for (const UNetStageShape& s : input_stages(config_, config_.in_channels)) input_blocks_.add(config_, s);
  for (const UNetStageShape& s : output_stages(config_)) output_blocks_.add(config_, s);
}

std::vector<const UNetStage*> UNet::stages() const {
  std::vector<const UNetStage*> all;
  for (const auto& stage : input_blocks_) all.push_back(stage.get());
  all.push_back(&middle_block_);
  for (const auto& stage : output_blocks_) all.push_back(stage.get());
  return all;
}

std::vector<KeysAndValues> UNet::keys_and_values(const Tensor& context) const {
  return relume::keys_and_values(stages(), cast(context, compute_));
}

int64_t UNet::cross_attentions() const { return relume::cross_attentions(stages()); }

Tensor UNet::operator()(const Tensor& x, const Tensor& t, std::span<const KeysAndValues> text,
                        const UNetControl& control) const {
  check_unet_inputs("UNet", config_, config_.in_channels, stages(), x, t, text);
  const size_t maps = input_blocks_.size() + 1;
  RELUME_CHECK(control.maps.empty() || control.maps.size() == maps, "UNet: ", control.maps.size(),
               " control maps given, expected ", maps);
  RELUME_CHECK(control.strengths.empty() || control.strengths.size() == control.maps.size(), "UNet: ", control.strengths.size(),
               " strengths given for ", control.maps.size(), " control maps");
  UNetPass pass(time_embed_(t, compute_), text, checkpointing_);
  Tensor h = cast(x, compute_);
  std::vector<Tensor> skips;
  for (const auto& stage : input_blocks_) skips.push_back(h = pass(*stage, h));
  h = controlled(pass(middle_block_, h), control, maps - 1);
  for (const auto& stage : output_blocks_) {
    const Tensor skip = controlled(skips.back(), control, skips.size() - 1);
    skips.pop_back();
    h = pass(*stage, h, skip);
  }
  return cast(out_conv_(out_norm_(h)), x.dtype());
}

}  // namespace relume
