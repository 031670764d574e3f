// Memory for tensors without a backend: every tensor is a block of its own, so that the address sanitizer sees its bounds.
#pragma once

#include <new>

#include "base/machine.h"
#include "tensor/core/storage.h"

namespace relume::fuzz {

class PlainAllocator final : public Allocator {
 public:
  void* allocate(int64_t bytes, MemoryUse use) override {
    counts_.add(bytes, use);
    return ::operator new(size_t(bytes), std::align_val_t(64));
  }
  void release(void* pointer, int64_t bytes, MemoryUse use) noexcept override {
    counts_.remove(bytes, use);
    ::operator delete(pointer, std::align_val_t(64));
  }
  int64_t bytes_in_use() const override { return counts_.in_use(); }
  int64_t peak_bytes() const override { return counts_.peak(); }
  int64_t peak_bytes(MemoryUse use) const override { return counts_.peak(use); }
  void reset_peak() override { counts_.reset_peaks(); }
  void trim() override {}
  int64_t free_bytes() const override { return memory().usable; }
  int64_t most_held(int64_t peak) const override { return peak; }

 private:
  MemoryCounts counts_;
};

// To be called once, before the first tensor.
inline void use_plain_memory() {
  static PlainAllocator plain;
  set_allocator({}, &plain);
}

}  // namespace relume::fuzz
