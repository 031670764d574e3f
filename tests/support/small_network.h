// A network of a few thousand numbers that keeps the size of its input: residual, between a pixel unshuffle and a shuffle by 2;
// pictures are padded to multiples of 8.
#pragma once

#include "models/swinir.h"

namespace relume::test {

inline SwinIRConfig small_network() {
  return {.img_size = 8,
          .in_chans = 12,
          .embed_dim = 8,
          .depths = {2},
          .num_heads = {2},
          .window_size = 4,
          .sf = 1,
          .upsampler = "",
          .unshuffle = false,
          .drop_path_rate = 0.1,
          .outer_unshuffle = 2,
          .zero_last = true};
}

}  // namespace relume::test
