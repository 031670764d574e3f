#include "models/recognise.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "base/text.h"

namespace relume {
namespace {

// A network, or a part of a file that holds several, with the counts that were published for it.
struct Part {
  const char *name, *prefix;
  int64_t tensors, numbers;
};

// In the files of Stable Diffusion 2 and of DiffBIR v1, which adds the last three.
constexpr Part latent_diffusion_parts[] = {
    {"UNet", "model.diffusion_model.", 686, 865'910'724},
    {"VAE (AutoencoderKL)", "first_stage_model.", 248, 83'653'863},
    {"text tower (OpenCLIP)", "cond_stage_model.", 294, 354'032'641},
    {"IRControlNet", "control_model.", 324, 363'153'280},
    {"condition encoder (of the VAE)", "cond_encoder.", 108, 34'163'664},
    {"SwinIR", "preprocess_model.", 732, 22'280'651},
};

// Networks that are files of their own: all marks must be there, and no counter-mark.
struct Known {
  NetworkKind kind;
  const char* name;
  std::vector<const char*> marks;
  const char* counter_mark;
  int64_t tensors, numbers;  // 0: not published in one size
};

constexpr const char *cleaner_use = "relume restore --checkpoint FILE",
                     *control_use = "relume restore --version V --control FILE",
                     *prior_use = "relume restore --version V --prior FILE";
const std::vector<Known>& known_networks() {
  static const std::vector<Known> networks{
      {NetworkKind::control_net,
       "IRControlNet (DiffBIR, stage two)",
       {"zero_convs.0.0.weight", "middle_block_out.0.weight"},
       "input_hint_block.0.weight",
       324,
       363'153'280},
      {NetworkKind::other,
       "ControlNet with an encoder for pictures",
       {"zero_convs.0.0.weight", "input_hint_block.0.weight"},
       nullptr,
       0,
       0},
      {NetworkKind::other,
       "UNet of Stable Diffusion",
       {"input_blocks.0.0.weight", "output_blocks.0.0.in_layers.0.weight"},
       nullptr,
       686,
       865'910'724},
      {NetworkKind::other,
       "AutoencoderKL (VAE of Stable Diffusion)",
       {"encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight"},
       nullptr,
       248,
       83'653'863},
      {NetworkKind::other,
       "text tower of OpenCLIP",
       {"model.transformer.resblocks.0.attn.in_proj_weight", "model.token_embedding.weight"},
       nullptr,
       294,
       354'032'641},
      {NetworkKind::other,
       "text tower of OpenCLIP",
       {"transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight"},
       "visual.conv1.weight",
       294,
       354'032'641},
      {NetworkKind::other,
       "OpenCLIP (text and pictures)",
       {"transformer.resblocks.0.attn.in_proj_weight", "visual.conv1.weight"},
       nullptr,
       0,
       0},
      {NetworkKind::rrdbnet, "RRDBNet (BSRNet)", {"RRDB_trunk.0.RDB1.conv1.weight"}, nullptr, 702, 16'697'987},
      {NetworkKind::other, "RRDBNet (names of Real-ESRGAN)", {"body.0.rdb1.conv1.weight"}, nullptr, 702, 16'697'987},
      {NetworkKind::scunet,
       "SCUNet",
       {"m_head.0.weight", "m_body.0.trans_block.msa.relative_position_params"},
       nullptr,
       540,
       17'946'072},
  };
  return networks;
}

// "UNet: 686 tensors, 865,910,724 numbers, as published".
std::string part_line(const std::vector<TensorInfo>& tensors, const Part& part) {
  int64_t count = 0, numbers = 0;
  for (const TensorInfo& t : tensors)
    if (t.name.starts_with(part.prefix)) ++count, numbers += t.shape.numel();
  std::string line = detail::concat(part.name, ": ", grouped(count), " tensors, ", grouped(numbers), " numbers");
  if (part.tensors == 0) return line;
  if (count == part.tensors && numbers == part.numbers) return line + ", as published";
  return line + detail::concat(" (published: ", part.tensors, ", ", grouped(part.numbers), ')');
}

const char* use_of(NetworkKind kind) {
  if (kind == NetworkKind::rrdbnet || kind == NetworkKind::scunet) return cleaner_use;
  return kind == NetworkKind::control_net ? control_use : "";
}

RecognisedNetwork latent_diffusion(const std::vector<TensorInfo>& tensors) {
  const auto has = [&](std::string_view prefix) {
    return std::ranges::any_of(tensors, [&](const TensorInfo& t) { return t.name.starts_with(prefix); });
  };
  RecognisedNetwork found;
  found.kind = NetworkKind::latent_diffusion, found.name = "Stable Diffusion";
  const auto key = std::ranges::find(tensors, "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                                     &TensorInfo::name);
  const int64_t context = key != tensors.end() && key->shape.rank() == 2 ? key->shape[1] : 0;
  if (context == 768) found.name = "Stable Diffusion 1";
  if (context == 1024) found.name = "Stable Diffusion 2 (2.1 among them)", found.use = prior_use;
  if (has("control_model.")) found.name = "DiffBIR v1, the full file";
  for (Part part : latent_diffusion_parts) {
    if (!has(part.prefix)) continue;
    if (context != 1024) part.tensors = 0;
    found.parts.push_back(part_line(tensors, part));
  }
  return found;
}

}  // namespace

RecognisedNetwork recognise_network(const std::vector<TensorInfo>& tensors) {
  if (std::ranges::any_of(tensors, [](const TensorInfo& t) { return t.name.starts_with("model.diffusion_model."); }))
    return latent_diffusion(tensors);
  if (auto swinir = infer_swinir(tensors)) {
    RecognisedNetwork found;
    found.kind = NetworkKind::swinir, found.name = "SwinIR", found.use = cleaner_use;
    if (swinir->contradiction.empty()) found.fit = fit_layout(swinir_layout(swinir->config), tensors);
    found.swinir = std::move(swinir);
    return found;
  }
  std::unordered_set<std::string_view> names;
  for (const TensorInfo& t : tensors) names.insert(t.name);
  for (const Known& known : known_networks()) {
    const bool marked = std::ranges::all_of(known.marks, [&](const char* mark) { return names.contains(mark); });
    if (!marked || (known.counter_mark && names.contains(known.counter_mark))) continue;
    return {.kind = known.kind,
            .name = known.name,
            .use = use_of(known.kind),
            .parts = {part_line(tensors, {"the network", "", known.tensors, known.numbers})}};
  }
  return {};
}

}  // namespace relume
