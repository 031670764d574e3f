#include "tensor/cuda/context.h"

#include <array>
#include <atomic>
#include <mutex>

#include "base/error.h"
#include "tensor/core/float_products.h"

namespace relume::cuda {
namespace {
std::atomic<int64_t> waits{0};
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

int multiprocessors(Device device) {
  static std::array<std::atomic<int>, most_devices> known{};
  RELUME_CHECK(device.index >= 0 && device.index < most_devices, "device ", device, " does not exist");
  std::atomic<int>& count = known[size_t(device.index)];
  if (count == 0) {
    int found = 0;
    check(cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, device.index), "cudaDeviceGetAttribute");
    count = found;
  }
  return count;
}

size_t shared_bytes_per_block(Device device) {
  int bytes = 0;
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device.index), "cudaDeviceGetAttribute");
  return size_t(bytes);
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
