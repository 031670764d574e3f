// A stage-one training that takes a second: a network of a few thousand numbers on patches of 16 x 16 pixels.
#pragma once

#include <filesystem>

#include "train/stage1_config.h"

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

// 30 steps on noisy pictures, all below `folder`: pictures/ must exist, out/ is written.
inline Stage1Config small_training(const std::filesystem::path& folder) {
  Stage1Config c;
  c.output = (folder / "out").string();
  c.seed = 5;
  c.model = small_network();
  c.data = {.pictures = (folder / "pictures").string(), .crop = "patch", .size = 16, .flip = true, .threads = 1};
  c.degradation = {.blur_kernel_size = 5,
                   .kernel_list = {"iso"},
                   .kernel_prob = {1},
                   .blur_sigma = {0.2, 0.4},
                   .downsample_range = {1, 1},
                   .noise_range = {40, 40},
                   .jpeg_range = {90, 95}};
  c.train = {.steps = 30, .batch_size = 4, .lr = 1e-3, .log_every = 5, .validate_every = 15, .checkpoint_every = 10};
  return c;
}

}  // namespace relume::test
