#pragma once

#include "tests/support/small_network.h"
#include "train/stage1.h"

namespace relume::test {

// A file of the small network whose last convolution is not zero, so that it changes pictures.
inline void save_small_network(int64_t step, const std::filesystem::path& to) {
  SwinIRConfig config = small_network();
  config.zero_last = false;
  const SwinIR network(config);
  network.initialise(1);
  save_swinir(network, step, to);
}

}  // namespace relume::test
