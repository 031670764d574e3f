// Numbers of the host that a kernel reads, where they are too many for its parameters.
#pragma once

#include <span>

#include "tensor/core/storage.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {

// Copies pageable memory of the host, of which CUDA takes a copy of its own before it returns: nobody waits for the device, and
// `from` may go at once.
inline void upload(void* to, const void* from, size_t bytes, Device device) {
  if (bytes == 0) return;
  refuse_capture(stream(device), "a copy from the host");
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream(device)), "cudaMemcpyAsync");
}

// A copy of them on the device, for the kernels launched while it exists; `from` may go at once.
template <class T> class Uploaded {
 public:
  Uploaded(std::span<const T> from, Device device) : storage_(device, int64_t(from.size_bytes()), MemoryUse::scratch) {
    upload(storage_.data(), from.data(), from.size_bytes(), device);
  }
  const T* data() const { return static_cast<const T*>(storage_.data()); }

 private:
  Storage storage_;
};

}  // namespace relume::cuda
