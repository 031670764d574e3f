// What a computation takes in memory, found by running it.
#pragma once

#include "tensor/kernels/memory.h"

namespace relume {

struct TakenMemory {
  double bytes = 0;          // of tensors, at the peak
  double scratch_bytes = 0;  // of kernels, on the CPU: that of a GPU's libraries grows as the tensors and counts as theirs
};

// Of f() on the device, beside what is in use before.
template <class F> TakenMemory memory_taken_by(Device device, F&& f) {
  Allocator& pool = allocator(device);
  pool.reset_peak();
  const int64_t before = pool.peak_bytes(MemoryUse::tensor);
  f();
  const auto bytes = double(pool.peak_bytes(MemoryUse::tensor) - before), scratch = double(pool.peak_bytes(MemoryUse::scratch));
  return device == Device{} ? TakenMemory{bytes, scratch} : TakenMemory{bytes + scratch, 0};
}

}  // namespace relume
