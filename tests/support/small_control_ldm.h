// A ControlLDM of a few kilobytes but for its table of tokens, with no layer at zero, which would hide what lies behind it.
#pragma once

#include <cmath>
#include <memory>

#include "layers/init.h"
#include "models/control_ldm.h"

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
  randomise(networks->vae, 3), randomise(networks->text_encoder, 4);
  return networks;
}

}  // namespace relume::test
