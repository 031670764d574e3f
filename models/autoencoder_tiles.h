// The autoencoder in tiles as the reference has it (spec/diffbir.md 5.8), an approximation: tiles overlap and go through the
// network side by side; at every norm they share the mean of their statistics, which leaves out how far their means lie apart
// and counts what overlaps more than once; attention stays within a tile. It computes what the reference computes; memory it
// hardly saves, since all tiles are held.
#pragma once

#include <vector>

#include "models/vae.h"

namespace relume {

struct AutoencoderTile {
  int64_t begin = 0, end = 0;              // what it reads along an axis
  int64_t owned_begin = 0, owned_end = 0;  // what is taken of its result, in pixels of the input
};
// The tiles along an axis of `length` pixels, of about `tile` pixels each, that read `pad` pixels beyond what they own.
std::vector<AutoencoderTile> autoencoder_tiles(int64_t length, int64_t tile, int64_t pad);

// Pictures [N, H, W, 3] in tiles of so many pixels to what the encoder makes of them [N, h, w, 2 * z_channels], and to moments
// [N, h, w, 2 * embed_dim]; and latents [N, h, w, embed_dim] in tiles of so many latents to pictures. Whole where both sides
// are at most a tile and its two borders. Nothing is recorded for gradients. H and W are multiples of the autoencoder's
// reduction.
Tensor encoded_in_tiles(const AutoencoderKL& vae, const Tensor& pictures, int64_t tile);
Tensor moments_in_tiles(const AutoencoderKL& vae, const Tensor& pictures, int64_t tile);
Tensor decoded_in_tiles(const AutoencoderKL& vae, const Tensor& latents, int64_t tile);

}  // namespace relume
