#include "tensor/core/storage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/machine.h"
#include "base/text.h"

namespace relume {

namespace {

// Caching pool for the CPU. Freed blocks are kept and handed out again to requests they fit within an eighth, because a network
// asks for the same sizes at every step and fresh pages cost a fault each. What is held may exceed the peak of what was in use
// by an eighth; beyond that the blocks longest unused are given back, so that resident memory follows the live peak. What is
// kept as long as its network does not count for that eighth: of a large network it is more than all that is computed. A large
// block that would be given back for another one becomes that one, with the pages it has: where a network of other sizes
// follows, clearing fresh pages took a sixth of its first run.
class CpuAllocator final : public Allocator {
 public:
  void* allocate(int64_t bytes, MemoryUse use) override {
    const int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    void* pointer = take_cached(size);
    if (!pointer) {
      pointer = make_room(size, use);
      if (!pointer) pointer = obtain(size);
      if (!pointer) fail_out_of_memory(size);
      owned_[pointer] = size;
    }
    counts_.add(owned_[pointer], use);
    highest_ = std::max(highest_, computed());
    return pointer;
  }

  void release(void* pointer, int64_t, MemoryUse use) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t size = owned_[pointer];
    counts_.remove(size, use);
    cached_ += size;
    free_.emplace(size, Freed{pointer, ++releases_});
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
    while (!free_.empty()) drop(free_.begin());
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
  static constexpr int64_t alignment = 64, huge = int64_t(2) << 20;

  static int64_t rounded(int64_t bytes) {
    // Feature maps of a few megabytes are many: in units of huge pages a training step held a sixth more than it used.
    const int64_t unit = bytes >= 8 * huge ? huge : bytes >= huge ? 65536 : bytes >= 4096 ? 4096 : alignment;
    return std::max<int64_t>(alignment, (bytes + unit - 1) / unit * unit);
  }
  // Big blocks are mapped on their own, aligned to and backed by huge pages where the system has them.
  static void* obtain(int64_t size) {
    if (size < huge) return std::aligned_alloc(alignment, size_t(size));
    void* const mapped = aligned_range(size, PROT_READ | PROT_WRITE);
    if (mapped) madvise(mapped, size_t(size), MADV_HUGEPAGE);
    return mapped;
  }
  static void* aligned_range(int64_t size, int protection) {
    void* mapped = mmap(nullptr, size_t(size + huge), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char* const begin = static_cast<char*>(mapped);
    char* const aligned = begin + (huge - reinterpret_cast<uintptr_t>(begin) % huge) % huge;
    if (aligned > begin) munmap(begin, size_t(aligned - begin));
    if (const int64_t tail = begin + huge - aligned; tail > 0) munmap(aligned + size, size_t(tail));
    return aligned;
  }
  // A mapped block in another size, both large; null, and the block is gone, where the system refuses.
  static void* resized(void* block, int64_t from, int64_t to) {
    if (to <= from) {
      if (to < from) munmap(static_cast<char*>(block) + to, size_t(from - to));
      return block;
    }
    void* const place = aligned_range(to, PROT_NONE);  // or huge pages would be split
    if (place && mremap(block, size_t(from), size_t(to), MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED) return place;
    if (place) munmap(place, size_t(to));
    munmap(block, size_t(from));
    return nullptr;
  }
  [[noreturn]] void fail_out_of_memory(int64_t size) const {
    throw OutOfMemory("out of memory: " + human_bytes(double(size)) + " asked for, " + human_bytes(double(counts_.in_use())) +
                      " in use; use a smaller picture, tile, batch or network");
  }
  void* take_cached(int64_t size) {
    const auto found = free_.lower_bound(size);
    if (found == free_.end() || found->first > size + size / 8) return nullptr;
    void* pointer = found->second.pointer;
    cached_ -= found->first;
    free_.erase(found);
    return pointer;
  }
  int64_t computed() const { return counts_.in_use() - counts_.in_use(MemoryUse::kept); }
  // Gives blocks back until there is room for one of `size`, which may be made of one of them: else null.
  void* make_room(int64_t size, MemoryUse use) {
    const bool kept = use == MemoryUse::kept;
    const int64_t limit =
        counts_.in_use(MemoryUse::kept) + (kept ? size : 0) + most_held(std::max(highest_, computed() + (kept ? 0 : size)));
    void* made = nullptr;
    while (!free_.empty() && counts_.in_use() + cached_ + size > limit) {
      const auto oldest = std::ranges::min_element(free_, {}, [](const auto& block) { return block.second.when; });
      if (made || size < huge || oldest->first < huge) {
        drop(oldest);
      } else {
        const int64_t from = oldest->first;
        made = resized(forgotten(oldest), from, size);
      }
    }
    return made;
  }
  void drop(FreeBlocks::iterator block) {
    const int64_t size = block->first;
    void* const pointer = forgotten(block);
    size < huge ? std::free(pointer) : void(munmap(pointer, size_t(size)));
  }
  void* forgotten(FreeBlocks::iterator block) {
    void* const pointer = block->second.pointer;
    cached_ -= block->first;
    owned_.erase(pointer);
    free_.erase(block);
    return pointer;
  }
  MemoryCounts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  mutable std::mutex mutex_;
  std::map<void*, int64_t> owned_;  // every block we hold, with its size
  FreeBlocks free_;
  MemoryCounts counts_;
  int64_t cached_ = 0, highest_ = 0;  // highest: of what is computed
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
