// The autoencoder in strips of rows: what it computes whole, to the precision of its numbers, in little more memory than two of
// its maps take. A norm's statistics are those of the whole map; then a strip of it is normalised at a time and convolved, and
// the second convolution of a residual block takes the place of the map it reads. Attention is computed whole: its maps are
// small.
//
//   x --> norm1 --> conv1 --> h --> norm2 --> conv2 --> + --> in the place of h
//   |    [a strip]                 [a strip]            ^
//   +---------------------------------------------------+
#pragma once

#include "models/vae.h"

namespace relume {

// Of what is held beside the maps: normalised rows, and a backend's own. At 512 channels it is still some hundred tiles of
// Winograd's filtering, so a strip is convolved in the way the map is, and enough of them for many threads.
constexpr int64_t strip_bytes = 32 << 20;

// x [N, H, W, C] through the steps, with nothing recorded for gradients, each sample by itself. A strip has four rows at least.
Tensor run_in_strips(const AutoencoderSteps& steps, const Tensor& x, int64_t bytes = strip_bytes);

}  // namespace relume
