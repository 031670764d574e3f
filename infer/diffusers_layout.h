// Stable Diffusion in a folder as diffusers lays it out: unet/, vae/, text_encoder/, each with a file of weights under names of
// its own. Read as one source under the published names (spec/diffbir.md 3.5), as if it were the original file.
#pragma once

#include <filesystem>
#include <memory>

#include "tensor/core/source.h"

namespace relume {

bool is_diffusers_folder(const std::filesystem::path& folder);

// The weights of unet/, vae/ and text_encoder/. Safetensors are preferred to PyTorch's files, and f32 to fp16. InputError
// naming a folder without weights, weights in several parts, and names that have no counterpart.
//  - the 1x1 convolutions of the autoencoder's attention are linear there;
//  - queries, keys and values of the text encoder are apart there, and its last block, which Stable Diffusion 2 does not use,
//  is
//    left out, as are text_projection and logit_scale: they are zero here.
std::shared_ptr<const TensorSource> open_diffusers_folder(const std::filesystem::path& folder);

}  // namespace relume
