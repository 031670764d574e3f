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
#include "tensor/cuda/block_layout.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {

struct Arena::Blocks {
  explicit Blocks(Device device_) : device(device_) {}
  struct Event {
    bool taken;    // else released
    size_t block;  // by the order in which they are taken
    bool operator==(const Event&) const = default;
  };
  struct Released {
    void* pointer;
    int64_t size;
    MemoryUse use;
  };
  using Live = std::map<void*, size_t>;

  size_t taken_with(int64_t size) {
    blocks.push_back({.size = size, .born = int64_t(events.size()), .died = std::numeric_limits<int64_t>::max()});
    events.push_back({.taken = true, .block = blocks.size() - 1});
    return blocks.size() - 1;
  }
  void released(Live::iterator block) {
    blocks[block->second].died = int64_t(events.size());
    events.push_back({.taken = false, .block = block->second});
    recorded.erase(block);
  }
  bool goes_on_with(const Event& event) { return same = same && next < events.size() && events[next++] == event; }
  bool holds(void* pointer) const { return pointer >= memory && pointer < memory + layout.bytes; }

  Device device;
  std::vector<BlockLife> blocks;  // of the call; times are numbers of events
  std::vector<Event> events;
  Live recorded;  // what is there of them while the call is recorded, wherever it lies
  BlockLayout layout;
  char* memory = nullptr;
  Live live;                        // and what of them tensors hold, in this memory
  size_t next = 0, next_block = 0;  // when the call is repeated
  bool same = true;
  std::vector<Released> others;  // memory of elsewhere that was released meanwhile
  Mode mode = Mode::record;
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
    return in_scope->mode == Arena::Mode::record ? recorded(*in_scope, size, use) : repeated(*in_scope, size);
  }
  void release(void* pointer, int64_t bytes, MemoryUse use) noexcept override {
    int64_t size = std::max<int64_t>(bytes, 1);
    {
      const std::lock_guard lock(mutex_);
      if (const auto region = region_of(pointer); region != regions_.end()) {
        Blocks& arena = *region->second;
        const auto block = arena.live.find(pointer);
        if (in_scope == region->second) arena.goes_on_with({.taken = false, .block = block->second});
        arena.live.erase(block);
        if (!arena.abandoned || !arena.live.empty()) return;
        pointer = arena.memory, size = arena.layout.bytes, use = MemoryUse::tensor;
        regions_.erase(region);
      } else if (has_scope() && in_scope->mode == Arena::Mode::repeat) {
        return in_scope->others.push_back({pointer, size, use});  // nothing is asked of CUDA
      } else if (has_scope()) {
        if (const auto block = in_scope->recorded.find(pointer); block != in_scope->recorded.end()) in_scope->released(block);
      }
    }
    free(pointer, size, use);
  }
  // One piece of memory for all that was recorded.
  void lay_out_recorded(const std::shared_ptr<Blocks>& arena) {
    constexpr int64_t alignment = 512;  // that of CUDA's own
    arena->layout = lay_out(arena->blocks, alignment);
    if (arena->layout.bytes == 0) return;
    arena->memory = static_cast<char*>(obtain(arena->layout.bytes, MemoryUse::tensor));
    const std::lock_guard lock(mutex_);
    regions_[arena->memory] = arena;
  }
  // The arena is gone: its memory goes back when no tensor holds a part of it.
  void abandon(Blocks& arena) {
    {
      const std::lock_guard lock(mutex_);
      arena.abandoned = true;
      if (!arena.memory || !arena.live.empty()) return;
      regions_.erase(arena.memory);
    }
    free(arena.memory, arena.layout.bytes, MemoryUse::tensor);
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
  using Regions = std::map<char*, std::shared_ptr<Blocks>>;  // by where they begin
  struct MemoryInfo {
    size_t free = 0, total = 0;
  };
  Regions::iterator region_of(void* pointer) {
    const auto behind = regions_.upper_bound(static_cast<char*>(pointer));
    if (behind == regions_.begin()) return regions_.end();
    const auto region = std::prev(behind);
    return region->second->holds(pointer) ? region : regions_.end();
  }
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
  void* recorded(Blocks& arena, int64_t size, MemoryUse use) {
    void* const pointer = obtain(size, use);
    arena.recorded[pointer] = arena.taken_with(size);
    return pointer;
  }
  void* repeated(Blocks& arena, int64_t size) {
    const std::lock_guard lock(mutex_);
    const size_t block = arena.next_block++;
    RELUME_CHECK(arena.goes_on_with({.taken = true, .block = block}) && arena.blocks[block].size == size,
                 "the call asks for other memory than the first time (", human_bytes(double(size)),
                 "); only calls that do the same every time can be captured");
    void* const pointer = arena.memory + arena.layout.offsets[block];
    arena.live[pointer] = block;
    return pointer;
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
  Regions regions_;  // of the arenas
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
  arena.blocks_->mode = mode;
  if (mode == Mode::repeat) pool_of(arena.blocks_->device).lay_out_recorded(arena.blocks_);
  in_scope = arena.blocks_;
}
Arena::Scope::~Scope() {
  const std::shared_ptr<Blocks> arena = std::exchange(in_scope, nullptr);
  arena->recorded.clear();
  for (const Blocks::Released& r : arena->others) pool_of(arena->device).free(r.pointer, r.size, r.use);
}

bool Arena::repeated_all() const { return blocks_->same && blocks_->next == blocks_->events.size(); }
bool Arena::others_were_released() const { return !blocks_->others.empty(); }

}  // namespace relume::cuda
