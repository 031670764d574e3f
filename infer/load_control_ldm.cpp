#include "infer/load_control_ldm.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/part_source.h"
#include "infer/diffusers_layout.h"
#include "models/recognise.h"

namespace relume {
namespace {

constexpr const char *unet_prefix = "model.diffusion_model.", *vae_prefix = "first_stage_model.",
                     *text_prefix = "cond_stage_model.model.", *control_prefix = "control_model.",
                     *cleaner_prefix = "preprocess_model.";

bool holds(const TensorSource& source, const std::string& prefix) {
  return std::ranges::any_of(source.tensors(), [&](const TensorInfo& t) { return t.name.starts_with(prefix); });
}

std::string what_it_is(const TensorSource& source) {
  const RecognisedNetwork found = recognise_network(source.tensors());
  return found.name.empty() ? "; 'relume inspect' shows what it holds" : ": it is " + found.name;
}

void check_holds(const TensorSource& source, const char* what, const std::string& prefix) {
  RELUME_CHECK(holds(source, prefix), source.where(), ": holds no ", what, " (names that begin with ", prefix, ')',
               what_it_is(source));
}

void load_part(const Module& network, const char* what, const std::shared_ptr<const TensorSource>& source,
               const std::string& prefix, DType kept) {
  try {
    if (network.device() != Device{}) network.set_parameter_type(kept);
    load_lazily(network, std::make_shared<PartSource>(source, prefix));
  } catch (Error& error) {
    error.add_context(detail::concat("in loading the ", what, " of ", source->where()));
    throw;
  }
}

// Parts by the first word of their names, without those that are used.
std::vector<std::string> parts_left(const TensorSource& source, const std::vector<std::string>& used) {
  std::map<std::string, int64_t> counts;
  for (const TensorInfo& t : source.tensors()) {
    const auto is_used = [&](const std::string& prefix) { return t.name.starts_with(prefix); };
    if (std::ranges::none_of(used, is_used)) ++counts[t.name.substr(0, t.name.find('.'))];
  }
  std::vector<std::string> lines;
  for (const auto& [name, count] : counts)
    lines.push_back(detail::concat(source.where(), ": ", printable(name), ": ", count, count == 1 ? " tensor" : " tensors"));
  return lines;
}

}  // namespace

Checkpoint open_networks(const std::filesystem::path& path) {
  if (!is_diffusers_folder(path)) return open_checkpoint(path);
  Checkpoint folder{.tensors = open_diffusers_folder(path), .format = "a folder of diffusers"};
  for (const TensorInfo& t : folder.tensors->tensors()) folder.file_bytes += t.shape.numel() * size_of(t.dtype);
  return folder;
}

const std::vector<NetworkParts>& network_parts() {
  static const std::vector<NetworkParts> parts{{"stage1", {cleaner_prefix}},
                                               {"stage2", {unet_prefix, vae_prefix, text_prefix, control_prefix}},
                                               {"prior", {unet_prefix, vae_prefix, text_prefix}},
                                               {"unet", {unet_prefix}},
                                               {"vae", {vae_prefix}},
                                               {"text", {text_prefix}},
                                               {"control", {control_prefix}}};
  return parts;
}

std::shared_ptr<const TensorSource> part_of(const Checkpoint& checkpoint, const std::string& part) {
  const auto found = std::ranges::find(network_parts(), part, &NetworkParts::name);
  RELUME_CHECK(found != network_parts().end(), "no part is called '", part, "'");
  const auto& prefixes = found->prefixes;
  std::shared_ptr<const PartSource> source = prefixes.size() == 1
                                                 ? std::make_shared<PartSource>(checkpoint.tensors, prefixes[0])
                                                 : std::make_shared<PartSource>(checkpoint.tensors, prefixes);
  RELUME_CHECK(!source->tensors().empty(), checkpoint.tensors->where(), ": holds no tensors of the part ", part,
               " (names that begin with ", join(prefixes, ", "), ')', what_it_is(*checkpoint.tensors));
  return source;
}

ControlLdmSource::ControlLdmSource(const ControlLdmFiles& files)
    : prior_(open_networks(files.prior).tensors),
      control_(files.control.empty() ? prior_ : open_checkpoint(files.control).tensors) {
  check_holds(*prior_, "U-Net", unet_prefix);
  check_holds(*prior_, "autoencoder", vae_prefix);
  check_holds(*prior_, "text encoder", text_prefix);
  if (control_ == prior_) check_holds(*control_, "control network", control_prefix);
  control_prefix_ = holds(*control_, control_prefix) ? control_prefix : "";
  std::vector<std::string> used{unet_prefix, vae_prefix, text_prefix, cleaner_prefix};
  if (control_ == prior_) used.push_back(control_prefix);
  left_ = parts_left(*prior_, used);
}

std::unique_ptr<ClipText> ControlLdmSource::text_encoder(const ClipTextConfig& config, Device device, DType kept) const {
  auto encoder = std::make_unique<ClipText>(nullptr, "", config, device);
  load_part(*encoder, "text encoder", prior_, text_prefix, kept);
  return encoder;
}

std::unique_ptr<ControlLdm> ControlLdmSource::networks(const ControlLdmConfig& config, Device device, DType kept) const {
  auto networks = std::make_unique<ControlLdm>(config, device);
  load_part(networks->unet, "U-Net", prior_, unet_prefix, kept);
  load_part(networks->vae, "autoencoder", prior_, vae_prefix, kept);
  load_part(networks->control_net, "control network", control_, control_prefix_, kept);
  return networks;
}

int64_t ControlLdmSource::kept_bytes(DType kept) const {
  int64_t numbers = 0;
  const auto add = [&](const TensorSource& source, const std::string& prefix) {
    for (const TensorInfo& t : source.tensors())
      if (t.name.starts_with(prefix)) numbers += t.shape.numel();
  };
  add(*prior_, unet_prefix), add(*prior_, vae_prefix), add(*control_, control_prefix_);
  return numbers * size_of(kept);
}

std::shared_ptr<const TensorSource> ControlLdmSource::cleaner() const {
  return holds(*prior_, cleaner_prefix) ? std::make_shared<PartSource>(prior_, cleaner_prefix) : nullptr;
}

}  // namespace relume
