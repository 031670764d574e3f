// The CPU's allocator with less memory than it has.
#pragma once

#include <limits>

#include "tensor/core/storage.h"

namespace relume::test {

// While it lives: gives what the real one gives, until more than `limit` bytes would be in use, or `refused` bytes are asked
// for at once.
class LimitedAllocator final : public Allocator {
 public:
  explicit LimitedAllocator(int64_t limit = std::numeric_limits<int64_t>::max(), int64_t refused = -1)
      : limit_(limit), refused_(refused) {
    set_allocator({}, this);
  }
  ~LimitedAllocator() override { set_allocator({}, &real_); }
  void* allocate(int64_t bytes, MemoryUse use) override {
    if (bytes == refused_ || bytes > limit_ - bytes_in_use()) throw OutOfMemory("out of memory: by a test");
    return real_.allocate(bytes, use);
  }
  void release(void* pointer, int64_t bytes, MemoryUse use) noexcept override { real_.release(pointer, bytes, use); }
  int64_t bytes_in_use() const override { return real_.bytes_in_use(); }
  int64_t peak_bytes() const override { return real_.peak_bytes(); }
  int64_t peak_bytes(MemoryUse use) const override { return real_.peak_bytes(use); }
  void reset_peak() override { real_.reset_peak(); }
  void trim() override { real_.trim(); }
  int64_t free_bytes() const override { return real_.free_bytes(); }
  int64_t most_held(int64_t peak) const override { return real_.most_held(peak); }

 private:
  Allocator& real_ = allocator({});
  int64_t limit_, refused_;
};

}  // namespace relume::test
