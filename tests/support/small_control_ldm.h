// A ControlLDM of a few kilobytes but for its table of tokens, with no layer at zero, which would hide what lies behind it.
#pragma once

#include <cmath>
#include <filesystem>
#include <memory>

#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "layers/init.h"
#include "models/clip_text.h"
#include "models/control_ldm.h"
#include "models/swinir.h"

namespace relume::test {

inline ControlLdmConfig small_control_ldm_config() {
  const UNetConfig unet{.model_channels = 32,
                        .channel_mult = {1, 2},
                        .num_res_blocks = 1,
                        .attention_resolutions = {2},
                        .num_head_channels = 16,
                        .context_dim = 12};
  return {.control = {.unet = unet},
          .vae = {.ch = 32, .ch_mult = {1, 1, 1, 1}, .num_res_blocks = 1},
          .text = {.vocab_size = 50, .context_length = 5, .width = 12, .heads = 2, .layers = 2, .embed_dim = 12}};
}

inline void randomise(const Module& network, uint64_t seed) {
  for (const NamedTensor& p : network.parameters()) {
    const bool norm = p.tensor.rank() == 1 && p.name.ends_with("weight"), single = p.tensor.rank() == 0;
    if (norm || single)
      init_constant(p.tensor, 1);
    else
      init_uniform(p.tensor, 1 / std::sqrt(double(p.tensor.numel() / p.tensor.shape(0))), seed, p.name);
  }
}

inline std::unique_ptr<ControlLdm> small_control_ldm() {
  auto networks = std::make_unique<ControlLdm>(small_control_ldm_config());
  randomise(networks->unet, 1), randomise(networks->control_net, 2);
  randomise(networks->vae, 3);
  return networks;
}

inline std::unique_ptr<ClipText> small_text_encoder() {
  auto encoder = std::make_unique<ClipText>(nullptr, "", small_control_ldm_config().text);
  randomise(*encoder, 4);
  return encoder;
}

// The same with a text encoder for the published tokenizer.
inline ControlLdmConfig small_published_config() {
  ControlLdmConfig c = small_control_ldm_config();
  c.text.vocab_size = 49408, c.text.context_length = 77;
  return c;
}

// A stage one that its tensors describe without doubt.
inline SwinIRConfig small_stage_one() {
  return {.img_size = 8,
          .embed_dim = 8,
          .depths = {2},
          .num_heads = {2},
          .window_size = 4,
          .sf = 2,
          .upsampler = "nearest+conv",
          .unshuffle = true,
          .unshuffle_scale = 2,
          .zero_last = false};
}

// A file of all of them, and of a small SwinIR, in the layout of DiffBIR v1's full file.
inline void save_small_restorer(const std::filesystem::path& to) {
  const ControlLdmConfig c = small_published_config();
  const ControlLdm networks(c);
  const ClipText text(nullptr, "", c.text);
  const SwinIR swinir(small_stage_one());
  randomise(networks.unet, 1), randomise(networks.control_net, 2), randomise(networks.vae, 3), randomise(text, 4);
  swinir.initialise(5);
  MemorySource all(to.string());
  const auto add = [&](const Module& network, const std::string& prefix) {
    for (const NamedTensor& t : stored_state(network)) all.add(prefix + t.name, t.tensor);
  };
  add(networks.unet, "model.diffusion_model."), add(networks.vae, "first_stage_model.");
  add(text, "cond_stage_model.model."), add(networks.control_net, "control_model."), add(swinir, "preprocess_model.");
  write_safetensors(to, all);
}

}  // namespace relume::test
