#include "tensor/cuda/allocator.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tensor/core/storage.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {

struct Arena::Blocks {
  explicit Blocks(Device device_) : device(device_) {}
  struct Block {
    void* pointer;
    int64_t size;
    bool free;
  };
  struct Released {
    void* pointer;
    int64_t size;
    MemoryUse use;
  };
  Device device;
  std::vector<Block> all;
  std::vector<size_t> taken;     // which of them each allocation took, in order
  size_t next = 0;               // allocation, when they are taken again
  std::vector<Released> others;  // memory of elsewhere that was released meanwhile
  Mode mode = Mode::grow;
  bool abandoned = false;  // the arena is gone
};

namespace {

using Blocks = Arena::Blocks;

thread_local std::shared_ptr<Blocks> in_scope;

// The driver's pool keeps what is released and hands it out in the order of the stream, so nothing waits; it never gives memory
// back by itself (trim() does), because a step asks for the same sizes again.
class PoolAllocator final : public Allocator {
 public:
  explicit PoolAllocator(int index) : device_{DeviceKind::cuda, index} {}
  void* allocate(int64_t bytes, MemoryUse use) override {
    const int64_t size = std::max<int64_t>(bytes, 1);
    if (!has_scope()) return obtain(size, use);
    return in_scope->mode == Arena::Mode::grow ? grown(in_scope, size) : repeated(*in_scope, size);
  }
  void release(void* pointer, int64_t bytes, MemoryUse use) noexcept override {
    int64_t size = std::max<int64_t>(bytes, 1);
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = arena_blocks_.find(pointer); found != arena_blocks_.end()) {
        Blocks& arena = *found->second.arena;
        Blocks::Block& block = arena.all[found->second.index];
        block.free = true;
        if (!arena.abandoned) return;
        size = block.size, use = MemoryUse::tensor;
        arena_blocks_.erase(found);
      } else if (has_scope() && in_scope->mode == Arena::Mode::repeat) {
        return in_scope->others.push_back({pointer, size, use});  // nothing is asked of CUDA
      }
    }
    free(pointer, size, use);
  }
  // The arena is gone: what nobody holds of it goes back at once, the rest when it is released.
  void abandon(Blocks& arena) {
    std::vector<Blocks::Block> unused;
    {
      const std::lock_guard lock(mutex_);
      arena.abandoned = true;
      std::ranges::copy_if(arena.all, std::back_inserter(unused), [](const Blocks::Block& block) { return block.free; });
      for (const Blocks::Block& block : unused) arena_blocks_.erase(block.pointer);
    }
    for (const Blocks::Block& block : unused) free(block.pointer, block.size, MemoryUse::tensor);
  }
  void free(void* pointer, int64_t size, MemoryUse use) noexcept {
    cudaFreeAsync(pointer, stream(device_));
    const std::lock_guard lock(mutex_);
    counts_.remove(size, use);
  }
  int64_t bytes_in_use() const override { return counts().in_use(); }
  int64_t peak_bytes() const override { return counts().peak(); }
  int64_t peak_bytes(MemoryUse use) const override { return counts().peak(use); }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    counts_.reset_peaks();
  }
  void trim() override {
    wait_for(stream(device_));
    check(cudaMemPoolTrimTo(pool(), 0), "cudaMemPoolTrimTo");
  }
  int64_t free_bytes() const override { return int64_t(memory_info().free); }
  int64_t most_held(int64_t peak) const override { return peak; }

 private:
  struct MemoryInfo {
    size_t free = 0, total = 0;
  };
  bool has_scope() const { return in_scope && in_scope->device == device_; }
  MemoryInfo memory_info() const {
    stream(device_);  // selects the device that is asked
    MemoryInfo info;
    check(cudaMemGetInfo(&info.free, &info.total), "cudaMemGetInfo");
    return info;
  }
  cudaMemPool_t pool() const {
    cudaMemPool_t p = nullptr;
    check(cudaDeviceGetDefaultMemPool(&p, device_.index), "cudaDeviceGetDefaultMemPool");
    return p;
  }
  void* obtain(int64_t size, MemoryUse use) {
    keep_what_is_released();
    void* pointer = nullptr;
    const cudaError_t result = cudaMallocAsync(&pointer, size_t(size), stream(device_));
    if (result == cudaErrorMemoryAllocation) fail_out_of_memory(size);
    check(result, "cudaMallocAsync");
    const std::lock_guard lock(mutex_);
    counts_.add(size, use);
    return pointer;
  }
  // The smallest block that is free and fits, or a new one.
  void* grown(const std::shared_ptr<Blocks>& arena, int64_t size) {
    const auto take = [&](Blocks::Block& block) {
      arena->taken.push_back(size_t(&block - arena->all.data()));
      return block.free = false, block.pointer;
    };
    {
      const std::lock_guard lock(mutex_);
      Blocks::Block* best = nullptr;
      for (Blocks::Block& block : arena->all)
        if (block.free && block.size >= size && (!best || block.size < best->size)) best = &block;
      if (best) return take(*best);
    }
    void* const fresh = obtain(size, MemoryUse::tensor);
    const std::lock_guard lock(mutex_);
    arena->all.push_back({fresh, size, true});
    arena_blocks_[fresh] = {arena, arena->all.size() - 1};
    return take(arena->all.back());
  }
  void* repeated(Blocks& arena, int64_t size) {
    const std::lock_guard lock(mutex_);
    Blocks::Block* const block = arena.next < arena.taken.size() ? &arena.all[arena.taken[arena.next++]] : nullptr;
    RELUME_CHECK(block && block->free && block->size >= size, "the call asks for other memory than the first time (",
                 human_bytes(double(size)), "); only calls that do the same every time can be captured");
    return block->free = false, block->pointer;
  }
  void keep_what_is_released() {
    std::call_once(configured_, [this] {
      uint64_t threshold = std::numeric_limits<uint64_t>::max();
      check(cudaMemPoolSetAttribute(pool(), cudaMemPoolAttrReleaseThreshold, &threshold), "cudaMemPoolSetAttribute");
    });
  }
  [[noreturn]] void fail_out_of_memory(int64_t bytes) {
    cudaGetLastError();  // the failure must not be reported again by the next call
    const MemoryInfo info = memory_info();
    throw OutOfMemory("out of memory on " + to_text(device_) + ": " + human_bytes(double(bytes)) + " asked for, " +
                      human_bytes(double(counts().in_use())) + " in use, " + human_bytes(double(info.free)) + " of " +
                      human_bytes(double(info.total)) + " free; use a smaller picture, tile, batch or network");
  }
  static std::string to_text(Device d) { return "cuda:" + std::to_string(d.index); }
  MemoryCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  const Device device_;
  std::once_flag configured_;
  mutable std::mutex mutex_;
  MemoryCounts counts_;
  struct ArenaBlock {
    std::shared_ptr<Blocks> arena;
    size_t index;
  };
  std::map<void*, ArenaBlock> arena_blocks_;
};

PoolAllocator& pool_of(Device device) { return static_cast<PoolAllocator&>(allocator(device)); }

}  // namespace

void register_allocators() {
  // Never destroyed: tensors of static lifetime may outlive any order of ours.
  for (int index = 0; index < most_devices; ++index) set_allocator({DeviceKind::cuda, index}, new PoolAllocator(index));
}

Arena::Arena(Device device) : blocks_(std::make_shared<Blocks>(device)) {}
Arena::~Arena() { pool_of(blocks_->device).abandon(*blocks_); }

Arena::Scope::Scope(Arena& arena, Mode mode) {
  RELUME_BUG(!in_scope, "an arena within another");
  arena.blocks_->mode = mode, arena.blocks_->next = 0;
  in_scope = arena.blocks_;
}
Arena::Scope::~Scope() {
  const std::shared_ptr<Blocks> arena = std::exchange(in_scope, nullptr);
  for (const Blocks::Released& r : arena->others) pool_of(arena->device).free(r.pointer, r.size, r.use);
}

bool Arena::others_were_released() const { return !blocks_->others.empty(); }

}  // namespace relume::cuda
