#include "tests/cuda_sim/fake_runtime.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

#include "tests/cuda_sim/sim.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(pointer, bytes) (void(pointer), void(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(pointer, bytes) (void(pointer), void(bytes))
#endif

namespace relume::sim {
namespace {

struct DeviceMemory {
  std::map<char*, size_t> blocks;
  size_t in_use = 0, total = size_t(16) << 30;
  int open = 0;  // how many DeviceMemoryOpen there are
};
DeviceMemory& device() {
  static DeviceMemory d;
  return d;
}

bool on_device(const void* pointer, size_t bytes) {
  auto* p = static_cast<const char*>(pointer);
  auto after = device().blocks.upper_bound(const_cast<char*>(p));
  if (after == device().blocks.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  if (p >= begin + size) return false;
  if (p + bytes > begin + size) throw Violation("a copy reaches behind the end of its device memory");
  return true;
}

void check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (on_device(to, bytes) != to_device || on_device(from, bytes) != from_device))
    throw Violation("a copy whose kind does not fit its pointers");
}

}  // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
  if (device().open++ == 0)
    for (const auto& [begin, bytes] : device().blocks) ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
}
DeviceMemoryOpen::~DeviceMemoryOpen() {
  if (--device().open == 0)
    for (const auto& [begin, bytes] : device().blocks) ASAN_POISON_MEMORY_REGION(begin, bytes);
}

void set_device_memory(unsigned long long bytes) { device().total = bytes; }

std::atomic<bool>& work_ends() {
  static std::atomic<bool> ends{true};
  return ends;
}

}  // namespace relume::sim

using namespace relume::sim;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* index) { return *index = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int index) { return index == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t e) {
  return e == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaError";
}
const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorMemoryAllocation ? "out of memory" : "an error of the simulator";
}
// Few multiprocessors, so that small work already makes threads go round their loops.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  return attribute == cudaDevAttrMultiProcessorCount ? (*value = 1, cudaSuccess) : cudaErrorInvalidValue;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total) {
  *total = device().total, *free_bytes = device().total - device().in_use;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
  if (device().in_use + bytes > device().total) return cudaErrorMemoryAllocation;
  if (posix_memalign(pointer, 256, bytes > 0 ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  std::memset(*pointer, 0xa5, bytes);
  device().blocks[static_cast<char*>(*pointer)] = bytes;
  device().in_use += bytes;
  if (device().open == 0) ASAN_POISON_MEMORY_REGION(*pointer, bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  const auto found = device().blocks.find(static_cast<char*>(pointer));
  if (found == device().blocks.end()) return cudaErrorInvalidValue;
  ASAN_UNPOISON_MEMORY_REGION(pointer, found->second);
  device().in_use -= found->second;
  device().blocks.erase(found);
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return *pool = nullptr, cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  check_copy(to, from, bytes, kind);
  const DeviceMemoryOpen open;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t) {
  if (width > to_pitch || width > from_pitch) return cudaErrorInvalidPitchValue;
  const DeviceMemoryOpen open;
  for (size_t row = 0; row < height; ++row) {
    char* const line = static_cast<char*>(to) + row * to_pitch;
    const char* const source = static_cast<const char*>(from) + row * from_pitch;
    check_copy(line, source, width, kind);
    std::memcpy(line, source, width);
  }
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (!on_device(to, bytes)) throw Violation("cudaMemsetAsync on memory of the host");
  const DeviceMemoryOpen open;
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return ++counts().host_waits, cudaSuccess; }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = nullptr, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return work_ends() ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

}  // extern "C"
