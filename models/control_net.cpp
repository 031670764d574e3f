#include "models/control_net.h"

#include <unordered_map>

#include "autograd/shape.h"
#include "layers/init.h"

namespace relume {

namespace {

UNetStageShape zero_conv(const UNetStageShape& before) {
  const int64_t channels = before.back().out;
  return {{UNetLayerShape::Kind::pointwise, channels, channels}};
}

}  // namespace

ControlNet::ControlNet(const ControlNetConfig& config, Device device)
    : Module(nullptr, "", device),
      config_((config.validate(), config)),
      time_embed_(this, "time_embed", config_.unet.model_channels),
      input_blocks_(this, "input_blocks"),
      zero_convs_(this, "zero_convs"),
      middle_block_(this, "middle_block", config_.unet, middle_stage(config_.unet)),
      middle_block_out_(this, "middle_block_out", config_.unet, zero_conv(middle_stage(config_.unet))) {
  for (const UNetStageShape& s : input_stages(config_.unet, config_.unet.in_channels + config_.hint_channels)) {
    input_blocks_.add(config_.unet, s);
    zero_convs_.add(config_.unet, zero_conv(s));
  }
}

std::vector<const UNetStage*> ControlNet::stages() const {
  std::vector<const UNetStage*> all;
  for (const auto& stage : input_blocks_) all.push_back(stage.get());
  all.push_back(&middle_block_);
  return all;
}

std::vector<KeysAndValues> ControlNet::keys_and_values(const Tensor& context) const {
  return relume::keys_and_values(stages(), cast(context, compute_));
}

std::vector<Tensor> ControlNet::operator()(const Tensor& x, const Tensor& hint, const Tensor& t,
                                           std::span<const KeysAndValues> text) const {
  check_unet_inputs("ControlNet", config_.unet, config_.unet.in_channels, stages(), x, t, text);
  RELUME_CHECK(hint.shape() == x.shape().with(3, config_.hint_channels), "ControlNet: condition ", hint, " given for latents ",
               x, "; expected as many pixels, of ", config_.hint_channels, " channels");
  UNetPass pass(time_embed_(t, compute_), text, checkpointing_);
  Tensor h = cast(concat(x, hint), compute_);
  std::vector<Tensor> maps;
  for (size_t i = 0; i < input_blocks_.size(); ++i) {
    h = pass(input_blocks_[i], h);
    maps.push_back(zero_convs_[i](h, {}, {}));
  }
  maps.push_back(middle_block_out_(pass(middle_block_, h), {}, {}));
  return maps;
}

void ControlNet::initialise_from(const UNet& unet) const {
  std::unordered_map<std::string, Tensor> theirs;
  for (const NamedTensor& p : unet.parameters()) theirs.emplace(p.name, p.tensor);
  const auto source_of = [&](const NamedTensor& p) {
    const auto at = theirs.find(p.name);
    return at == theirs.end() ? Tensor() : at->second;
  };
  const auto part_of = [&](const NamedTensor& p) {  // the first convolution's channels of the latent, else the whole
    return p.name == "input_blocks.0.0.weight" ? p.tensor.columns(0, config_.unet.in_channels) : p.tensor;
  };
  for (const NamedTensor& p : parameters())
    if (const Tensor source = source_of(p))
      RELUME_CHECK(source.shape() == part_of(p).shape(), "ControlNet: ", p.name, " is ", source.shape(),
                   " in the U-Net, expected ", part_of(p).shape(), "; are they of one configuration?");
  for (const NamedTensor& p : parameters()) {
    const Tensor source = source_of(p);
    if (!source) continue;
    if (source.shape() != p.tensor.shape()) init_constant(p.tensor, 0);
    part_of(p).copy_from(source.to(p.tensor.device()));
  }
}

}  // namespace relume
