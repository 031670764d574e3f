// A stream of numbers (tensor/core/philox.h) as a kernel sees it.
#pragma once

#include "tensor/core/philox.h"
#include "tensor/cuda/device.h"

namespace relume::cuda {

struct Stream {
  explicit Stream(const RandomKey& k) : key(k.key()), step(k.step), sample(k.sample) {}
  __device__ std::array<uint32_t, 4> block(int64_t i) const {
    return philox4x32({uint32_t(uint64_t(i)), uint32_t(uint64_t(i) >> 32), sample, step}, key);
  }
  std::array<uint32_t, 2> key;
  uint32_t step, sample;
};

}  // namespace relume::cuda
