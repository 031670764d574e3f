// Memory for tensors without a backend: every tensor is a block of its own, so that the address sanitizer sees its bounds.
#pragma once

#include <algorithm>
#include <new>

#include "tensor/core/storage.h"

namespace relume::fuzz {

class PlainAllocator final : public Allocator {
 public:
  void* allocate(int64_t bytes) override {
    in_use_ += bytes;
    peak_ = std::max(peak_, in_use_);
    return ::operator new(size_t(bytes), std::align_val_t(64));
  }
  void release(void* pointer, int64_t bytes) noexcept override {
    in_use_ -= bytes;
    ::operator delete(pointer, std::align_val_t(64));
  }
  int64_t bytes_in_use() const override { return in_use_; }
  int64_t peak_bytes() const override { return peak_; }
  void reset_peak() override { peak_ = in_use_; }
  void trim() override {}
  int64_t most_held(int64_t peak) const override { return peak; }

 private:
  int64_t in_use_ = 0, peak_ = 0;
};

// To be called once, before the first tensor.
inline void use_plain_memory() {
  static PlainAllocator plain;
  set_allocator(DeviceKind::cpu, &plain);
}

}  // namespace relume::fuzz
