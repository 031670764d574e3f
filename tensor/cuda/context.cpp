#include "tensor/cuda/context.h"

#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "tensor/core/float_products.h"

namespace relume::cuda {
namespace {
std::atomic<int64_t> waits{0};

int attribute_of(Device device, cudaDeviceAttr attribute) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, attribute, device.index), "cudaDeviceGetAttribute");
  return value;
}

// What is known is kept: every call of a kernel asks.
int blocks_of_multiprocessor(Device device, const void* kernel, int threads, size_t shared_bytes) {
  static std::mutex mutex;
  static std::map<std::tuple<int, const void*, int, size_t>, int> known;
  const std::lock_guard lock(mutex);
  const std::tuple key(device.index, kernel, threads, shared_bytes);
  if (const auto at = known.find(key); at != known.end()) return at->second;
  stream(device);  // the answer is that of the selected device
  allow_shared_bytes(kernel, shared_bytes, "cudaFuncSetAttribute");
  int blocks = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return known[key] = blocks;
}
}  // namespace

void check(cudaError_t result, const char* call) {
  if (result == cudaSuccess) return;
  throw Error(std::string(call) + ": " + cudaGetErrorName(result) + ": " + cudaGetErrorString(result));
}

cudaStream_t stream(Device device) {
  thread_local int selected = -1;
  if (selected != device.index) {
    check(cudaSetDevice(device.index), "cudaSetDevice");
    selected = device.index;
  }
  return cudaStreamPerThread;
}

int multiprocessors(Device device) { return attribute_of(device, cudaDevAttrMultiProcessorCount); }

size_t shared_bytes_per_block(Device device) { return size_t(attribute_of(device, cudaDevAttrMaxSharedMemoryPerBlockOptin)); }

int blocks_at_once(Device device, const void* kernel, int threads, size_t shared_bytes) {
  if (attribute_of(device, cudaDevAttrCooperativeLaunch) == 0 || shared_bytes > shared_bytes_per_block(device)) return 0;
  return blocks_of_multiprocessor(device, kernel, threads, shared_bytes) * multiprocessors(device);
}

void allow_shared_bytes(const void* kernel, size_t shared_bytes, const char* name) {
  constexpr size_t always_allowed = 48 << 10;
  if (shared_bytes <= always_allowed) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)), name);
}

GridBarrier* grid_barrier(Device device) {
  thread_local std::array<GridBarrier*, most_devices> known{};
  GridBarrier*& barrier = known.at(size_t(device.index));
  if (barrier) return barrier;
  refuse_capture(stream(device), "the first grid barrier of a thread");
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, sizeof(GridBarrier), stream(device)), "cudaMallocAsync");
  check(cudaMemsetAsync(memory, 0, sizeof(GridBarrier), stream(device)), "cudaMemsetAsync");
  return barrier = static_cast<GridBarrier*>(memory);  // never freed: graphs hold it
}

bool rounds_to_tf32(DType type) { return type == DType::f32 && float_products() == FloatProducts::tf32; }

void wait_for(cudaStream_t s) {
  refuse_capture(s, "waiting for the device");
  ++waits;
  check(cudaStreamSynchronize(s), "cudaStreamSynchronize");
}
void wait_for(cudaEvent_t event) {
  ++waits;
  check(cudaEventSynchronize(event), "cudaEventSynchronize");
}
int64_t host_waits() { return waits; }

void refuse_capture(cudaStream_t s, const char* doing) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(s, &status), "cudaStreamIsCapturing");
  if (status != cudaStreamCaptureStatusNone)
    throw Error(std::string(doing) + " cannot be part of a CUDA graph; do it before or after the captured call");
}

}  // namespace relume::cuda
