// Numbers of the host that a kernel reads, where they are too many for its parameters.
#pragma once

#include <span>

#include "tensor/core/storage.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {

// A copy of them on the device, for the kernels launched while it exists. `from` is pageable memory, which CUDA takes a copy of
// before it returns: nobody waits for the device, and `from` may go at once.
template <class T> class Uploaded {
 public:
  Uploaded(std::span<const T> from, Device device) : storage_(device, int64_t(from.size_bytes()), MemoryUse::scratch) {
    if (!from.empty())
      check(cudaMemcpyAsync(storage_.data(), from.data(), from.size_bytes(), cudaMemcpyHostToDevice, stream(device)),
            "cudaMemcpyAsync");
  }
  const T* data() const { return static_cast<const T*>(storage_.data()); }

 private:
  Storage storage_;
};

}  // namespace relume::cuda
