// Storage: one block of memory shared by tensors, with a version counter and derived copies.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"

namespace relume {

// What memory is for. Tensors grow with what is computed; a kernel's scratch goes when it returns, and hardly grows; what is
// kept (packed weights) stays as long as its network.
enum class MemoryUse : uint8_t { tensor, scratch, kept };
inline constexpr int memory_uses = 3;

// What an allocator has given out; the allocator guards it.
class MemoryCounts {
 public:
  void add(int64_t bytes, MemoryUse use) {
    total_.add(bytes);
    by_use_[int(use)].add(bytes);
  }
  void remove(int64_t bytes, MemoryUse use) { add(-bytes, use); }
  void reset_peaks() {
    total_.peak = total_.now;
    for (Count& c : by_use_) c.peak = c.now;
  }
  int64_t in_use() const { return total_.now; }
  int64_t in_use(MemoryUse use) const { return by_use_[int(use)].now; }
  int64_t peak() const { return total_.peak; }
  int64_t peak(MemoryUse use) const { return by_use_[int(use)].peak; }

 private:
  struct Count {
    void add(int64_t bytes) { peak = std::max(peak, now += bytes); }
    int64_t now = 0, peak = 0;
  };
  Count total_, by_use_[memory_uses];
};

// Memory of one device. allocate() returns 64-byte aligned memory or throws an OutOfMemory naming the bytes asked for and in
// use.
class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual void* allocate(int64_t bytes, MemoryUse use) = 0;
  virtual void release(void* pointer, int64_t bytes, MemoryUse use) noexcept = 0;
  virtual int64_t bytes_in_use() const = 0;
  virtual int64_t peak_bytes() const = 0;               // highest bytes_in_use() since the last reset_peak()
  virtual int64_t peak_bytes(MemoryUse use) const = 0;  // the same of one use; the peaks need not be of one moment
  virtual void reset_peak() = 0;
  virtual void trim() = 0;                 // gives cached memory back to the system
  virtual int64_t free_bytes() const = 0;  // what the system can still give
  // What is held of the system at most while bytes_in_use() stays at or below `peak`.
  virtual int64_t most_held(int64_t peak) const = 0;
};
Allocator& allocator(Device device);                      // throws where no backend has such a device
void set_allocator(Device device, Allocator* allocator);  // called by a backend's registration

// Data as a file holds it, for kernels that read it there: numbers of a float type in the order of the tensor's axes, or
// [O, I, taps] where the tensor is [O, taps, I].
struct StoredForm {
  std::shared_ptr<void> data;
  DType dtype = DType::f32;
  bool taps_last = false;
};

class Storage {
 public:
  Storage(Device device, int64_t bytes, MemoryUse use = MemoryUse::tensor);
  // Memory owned by someone else (a mapped file): kept alive by `owner`, never written.
  Storage(Device device, void* pointer, int64_t bytes, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const {
    void* const at = data_.load(std::memory_order_acquire);
    return at || !source_ ? at : had_again();
  }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  bool writable() const { return owner_ == nullptr && !source_; }

  // Data that can be had again: `source` gives all of it, and always the same. The memory is let go now; the source is asked
  // when data is wanted, and what it gave is let go as soon as a derived copy is kept in its place. Nobody else may hold a
  // pointer to it while a copy is derived; it is read-only.
  using Source = std::function<std::shared_ptr<void>()>;
  using Stored = std::function<StoredForm()>;
  void set_source(Source source, Stored stored = {});
  // The same data as it is stored, asked for once; null: it has no such form.
  const StoredForm* stored() const;
  // Of a mapped file: lets go of the pages that were read. They come back when they are asked for.
  void drop_pages() const;

  // Counts changes in place (optimiser steps, loads). Whoever writes into existing data calls bump_version().
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  void bump_version() { version_.fetch_add(1, std::memory_order_acq_rel); }

  // A backend's derived copy of this data (packed weights, D1), keyed by what it was derived for. It is kept from the second
  // time on that one version of the data is asked for: the weights of a training change with every step, and keeping copies of
  // them would cost memory for nothing. Data with a source does not change: its copy is kept at once, and the data let go. What
  // was derived from an older version is dropped. make(use), which says what the copy's memory is for, runs under the storage's
  // lock.
  template <class Make> std::shared_ptr<void> derived_if_reused(uint64_t key, Make&& make) {
    const std::lock_guard lock(derived_mutex_);
    const uint64_t now = version();
    std::erase_if(derived_, [&](const Derived& d) { return d.version != now; });
    const auto found = std::find_if(derived_.begin(), derived_.end(), [&](const Derived& d) { return d.key == key; });
    if (found != derived_.end() && found->value) return found->value;
    const bool kept = source_ || found != derived_.end();
    std::shared_ptr<void> value = make(kept ? MemoryUse::kept : MemoryUse::tensor);
    if (found == derived_.end())
      derived_.push_back({key, now, kept ? value : nullptr});
    else
      found->value = value;
    if (source_) let_go();
    return value;
  }

 private:
  struct Derived {
    uint64_t key, version;
    std::shared_ptr<void> value;
  };
  void* had_again() const;
  void let_go() const;
  void release() const;

  Device device_;
  mutable std::atomic<void*> data_;
  int64_t bytes_;
  MemoryUse use_ = MemoryUse::tensor;
  std::shared_ptr<void> owner_;
  Source source_;
  mutable std::mutex source_mutex_;
  mutable std::shared_ptr<void> given_;  // by the source
  Stored stored_;
  mutable StoredForm form_;
  std::atomic<uint64_t> version_{0};
  std::mutex derived_mutex_;
  std::vector<Derived> derived_;
};

}  // namespace relume
