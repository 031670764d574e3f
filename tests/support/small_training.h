// A stage-one training that takes a second: the small network on patches of 16 x 16 pixels.
#pragma once

#include <filesystem>

#include "tests/support/small_network.h"
#include "train/stage1_config.h"

namespace relume::test {

// 30 steps on noisy pictures, all below `folder`: pictures/ must exist, out/ is written.
inline Stage1Config small_training(const std::filesystem::path& folder) {
  Stage1Config c;
  c.output = (folder / "out").string();
  c.seed = 5;
  c.model = small_network();
  c.data = {.pictures = (folder / "pictures").string(), .crop = "patch", .size = 16, .flip = true, .threads = 1};
  c.degradation.wide = {.blur_kernel_size = 5,
                        .kernel_list = {"iso"},
                        .kernel_prob = {1},
                        .blur_sigma = {0.2, 0.4},
                        .downsample_range = {1, 1},
                        .noise_range = {40, 40},
                        .jpeg_range = {90, 95}};
  c.train = {.steps = 30,
             .batch_size = 4,
             .lr = 1e-3,
             .log_every = 5,
             .validate_every = 15,
             .checkpoint_every = 10,
             .state_every = 0,
             .state_minutes = 0};
  return c;
}

}  // namespace relume::test
