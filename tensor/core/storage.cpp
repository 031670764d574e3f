#include "tensor/core/storage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <new>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/machine.h"
#include "base/rounding.h"
#include "base/text.h"
#include "tensor/core/free_pages.h"

namespace relume {

namespace {

// Caching pool for the CPU. Freed memory is kept, because a network asks for the same sizes at every step and fresh pages cost
// a fault each: small blocks for requests that they fit within an eighth, large ones as pages for blocks of any sizes. What is
// held may exceed the peak of what was in use by an eighth; beyond that what was longest unused is given back, so that resident
// memory follows the live peak. What is kept as long as its network does not count for that eighth: of a large network it is
// more than all that is computed.
class CpuAllocator final : public Allocator {
 public:
  void* allocate(int64_t bytes, MemoryUse use) override {
    const int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    void* const pointer = size < huge ? small_block(size, use) : large_block(size, use);
    if (!pointer) fail_out_of_memory(size);
    counts_.add(owned_.at(pointer), use);
    highest_ = std::max(highest_, computed());
    return pointer;
  }

  void release(void* pointer, int64_t, MemoryUse use) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto block = owned_.find(pointer);
    const int64_t size = block->second;
    counts_.remove(size, use);
    ++releases_;
    if (size < huge) {
      small_bytes_ += size;
      small_.emplace(size, Freed{pointer, releases_});
    } else {
      owned_.erase(block);
      pages_.put(pointer, size, releases_);
    }
  }

  int64_t bytes_in_use() const override { return counts().in_use(); }
  int64_t peak_bytes() const override { return counts().peak(); }
  int64_t peak_bytes(MemoryUse use) const override { return counts().peak(use); }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    counts_.reset_peaks();
  }
  void trim() override {
    const std::lock_guard lock(mutex_);
    int64_t spare = pages_.whole(FreePages::Among::all);
    while (give_back_oldest(spare, spare, FreePages::Among::all) > 0) {}
    highest_ = computed();
  }
  int64_t free_bytes() const override { return memory().usable; }
  int64_t most_held(int64_t peak) const override { return peak + peak / 8; }

 private:
  struct Freed {
    void* pointer;
    uint64_t when;
  };
  using FreeBlocks = std::multimap<int64_t, Freed>;  // by size
  static constexpr int64_t alignment = 64, huge = FreePages::huge;

  static int64_t rounded(int64_t bytes) {
    // Feature maps of a few megabytes are many: in units of huge pages a training step held a sixth more than it used.
    const int64_t unit = bytes >= 8 * huge ? huge : bytes >= huge ? FreePages::unit : bytes >= 4096 ? 4096 : alignment;
    return std::max<int64_t>(alignment, round_up(bytes, unit));
  }
  [[noreturn]] void fail_out_of_memory(int64_t size) const {
    throw OutOfMemory("out of memory: " + human_bytes(double(size)) + " asked for, " + human_bytes(double(counts_.in_use())) +
                      " in use; use a smaller picture, tile, batch or network");
  }

  void* small_block(int64_t size, MemoryUse use) {
    if (const auto found = small_.lower_bound(size); found != small_.end() && found->first <= size + size / 8)
      return forgotten(found);
    make_room(size, use, 0, FreePages::Among::all, size);
    void* const block = std::aligned_alloc(alignment, size_t(size));
    if (block) owned_[block] = size;
    return block;
  }
  void* large_block(int64_t size, MemoryUse use) {
    void* block = pages_.take(size);
    if (!block && pages_.longest() >= size / 8) {
      make_room(size, use, size - pages_.longest(), FreePages::Among::all_but_longest);
      block = pages_.take_grown(size);
    }
    if (!block) {
      make_room(size, use, size, FreePages::Among::all);
      block = pages_.take_new(size);
    }
    if (block) owned_[block] = size;
    return block;
  }

  int64_t computed() const { return counts_.in_use() - counts_.in_use(MemoryUse::kept); }
  // Gives back until there is room for a block of `size`, of which so many bytes are free pages (`among`) as far as there are
  // such, and new ones where not; `fresh` bytes are new in any case.
  void make_room(int64_t size, MemoryUse use, int64_t of_pages, FreePages::Among among, int64_t fresh = 0) {
    const int64_t whole = pages_.whole(among);
    fresh += std::max<int64_t>(0, of_pages - whole);
    const bool kept = use == MemoryUse::kept;
    const int64_t limit =
        counts_.in_use(MemoryUse::kept) + (kept ? size : 0) + most_held(std::max(highest_, computed() + (kept ? 0 : size)));
    int64_t excess = counts_.in_use() + small_bytes_ + pages_.bytes() + fresh - limit, spare = whole - of_pages;
    while (excess > 0) {
      const int64_t given = give_back_oldest(excess, spare, among);
      if (given == 0) return;
      excess -= given;
    }
  }
  // Gives back some `most` bytes of what was freed longest ago, of pages not more than `spare`; how many. 0: nothing is left.
  int64_t give_back_oldest(int64_t most, int64_t& spare, FreePages::Among among) {
    const auto small = std::ranges::min_element(small_, {}, [](const auto& block) { return block.second.when; });
    const std::optional<uint64_t> large = spare > 0 ? pages_.oldest(among) : std::nullopt;
    if (large && (small == small_.end() || *large < small->second.when)) {
      const int64_t given = pages_.give_back_oldest(std::min(most, spare), among);
      spare -= given;
      return given;
    }
    if (small == small_.end()) return 0;
    const int64_t size = small->first;
    void* const pointer = forgotten(small);
    owned_.erase(pointer);
    std::free(pointer);
    return size;
  }
  void* forgotten(FreeBlocks::iterator block) {
    void* const pointer = block->second.pointer;
    small_bytes_ -= block->first;
    small_.erase(block);
    return pointer;
  }
  MemoryCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  mutable std::mutex mutex_;
  std::unordered_map<void*, int64_t> owned_;  // the sizes of blocks in use, and of small free ones
  FreeBlocks small_;                          // free ones
  FreePages pages_;
  MemoryCounts counts_;
  int64_t small_bytes_ = 0, highest_ = 0;  // highest: of what is computed
  uint64_t releases_ = 0;
};

CpuAllocator& cpu_allocator() {
  static CpuAllocator* pool = new CpuAllocator;  // never destroyed: tensors of static lifetime may outlive any order of ours
  return *pool;
}

Allocator*& allocator_slot(Device device) {
  RELUME_CHECK(device.index >= 0 && device.index < most_devices, "device ", device, ": the index is not below ", most_devices);
  static std::array<std::array<Allocator*, most_devices>, device_kinds> table{{{&cpu_allocator()}, {}}};
  return table[size_t(device.kind)][size_t(device.index)];
}

}  // namespace

Allocator& allocator(Device device) {
  Allocator* found = allocator_slot(device);
  RELUME_CHECK(found, "device ", device, ": this process has no kernels for it; use the cpu");
  return *found;
}

void set_allocator(Device device, Allocator* replacement) { allocator_slot(device) = replacement; }

Storage::Storage(Device device, int64_t bytes, MemoryUse use)
    : device_(device), data_(allocator(device).allocate(bytes, use)), bytes_(bytes), use_(use) {}

Storage::Storage(Device device, void* pointer, int64_t bytes, std::shared_ptr<void> owner)
    : device_(device), data_(pointer), bytes_(bytes), owner_(std::move(owner)) {}

Storage::~Storage() {
  if (!owner_ && !source_) release();
}

void Storage::set_source(Source source, Stored stored) {
  RELUME_BUG(writable() && device_ == Device{}, "set_source: data of a file, of a GPU, or with a source");
  release();
  source_ = std::move(source);
  stored_ = std::move(stored);
}

const StoredForm* Storage::stored() const {
  if (!stored_) return nullptr;
  const std::lock_guard lock(source_mutex_);
  if (!form_.data) form_ = stored_();
  return &form_;
}

void* Storage::had_again() const {
  const std::lock_guard lock(source_mutex_);
  if (void* const at = data_.load(std::memory_order_acquire)) return at;  // another thread was faster
  given_ = source_();
  data_.store(given_.get(), std::memory_order_release);
  return given_.get();
}

void Storage::let_go() const {
  const std::lock_guard lock(source_mutex_);
  data_.store(nullptr, std::memory_order_release);
  given_.reset();
}

void Storage::release() const {
  if (void* const at = data_.exchange(nullptr)) allocator(device_).release(at, bytes_, use_);
}

void Storage::drop_pages() const {
  if (!owner_) return;
  const auto page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(data_.load());
  const uintptr_t first = (begin + page - 1) / page * page, last = (begin + uintptr_t(bytes_)) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace relume
