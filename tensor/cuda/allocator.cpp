#include "tensor/cuda/allocator.h"

#include <cuda_runtime_api.h>

#include <limits>
#include <mutex>

#include "base/error.h"
#include "base/text.h"
#include "tensor/core/storage.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {
namespace {

// The driver's pool keeps what is released and hands it out in the order of the stream, so nothing waits; it never gives memory
// back by itself (trim() does), because a step asks for the same sizes again.
class PoolAllocator final : public Allocator {
 public:
  explicit PoolAllocator(int index) : device_{DeviceKind::cuda, index} {}
  void* allocate(int64_t bytes, MemoryUse use) override {
    keep_what_is_released();
    void* pointer = nullptr;
    const int64_t size = std::max<int64_t>(bytes, 1);
    const cudaError_t result = cudaMallocAsync(&pointer, size_t(size), stream(device_));
    if (result == cudaErrorMemoryAllocation) fail_out_of_memory(size);
    check(result, "cudaMallocAsync");
    const std::lock_guard lock(mutex_);
    counts_.add(size, use);
    return pointer;
  }
  void release(void* pointer, int64_t bytes, MemoryUse use) noexcept override {
    cudaFreeAsync(pointer, stream(device_));
    const std::lock_guard lock(mutex_);
    counts_.remove(std::max<int64_t>(bytes, 1), use);
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
};

}  // namespace

void register_allocators() {
  // Never destroyed: tensors of static lifetime may outlive any order of ours.
  for (int index = 0; index < most_devices; ++index) set_allocator({DeviceKind::cuda, index}, new PoolAllocator(index));
}

}  // namespace relume::cuda
