// Which GPUs there are, and for which of them this build has kernels.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "tensor/cuda/context.h"
#include "tensor/cuda/register.h"

namespace relume {
namespace {

constexpr int architectures[] = {__CUDA_ARCH_LIST__};  // that were compiled for: 800, 900

std::string capability_text(int hundredfold) {
  return std::to_string(hundredfold / 100) + "." + std::to_string(hundredfold / 10 % 10);
}

Obstacle why_none(cudaError_t result) {
  cudaGetLastError();  // the failure must not be reported again by the next call
  if (result == cudaErrorInsufficientDriver)
    return {"the NVIDIA driver is missing, or too old for CUDA " + std::to_string(CUDART_VERSION / 1000) + "." +
                std::to_string(CUDART_VERSION / 10 % 100),
            "install a newer one"};
  if (result != cudaSuccess && result != cudaErrorNoDevice)
    return {std::string("CUDA cannot be started (") + cudaGetErrorName(result) + ": " + cudaGetErrorString(result) + ")",
            "see whether nvidia-smi works"};
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible)
    return {std::string("the NVIDIA driver shows no GPU under CUDA_VISIBLE_DEVICES='") + visible + "'", "unset that variable"};
  return {"the NVIDIA driver shows no GPU", "see whether nvidia-smi does, and start a container with its GPUs"};
}

// Kernels compiled for a capability run on all later ones.
Obstacle why_not(const cudaDeviceProp& gpu) {
  constexpr int oldest_supported = 800;
  const int least = *std::ranges::min_element(architectures), here = gpu.major * 100 + gpu.minor * 10;
  if (here >= least) return {};
  const std::string reason = std::string(gpu.name) + " has compute capability " + capability_text(here) +
                             ", and this build is for " + capability_text(least) + " and later";
  if (here < oldest_supported) return {reason, "use a GPU of compute capability 8.0 or later"};
  return {reason, "build again with RELUME_CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES=" + std::to_string(here / 10)};
}

}  // namespace

Gpus cuda_gpus() {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result != cudaSuccess || count == 0) return {.found = {}, .obstacle = why_none(result)};
  Gpus all;
  for (int index = 0; index < std::min(count, most_devices); ++index) {
    cudaDeviceProp gpu{};
    cuda::check(cudaGetDeviceProperties(&gpu, index), "cudaGetDeviceProperties");
    all.found.push_back({.name = gpu.name, .memory = int64_t(gpu.totalGlobalMem), .obstacle = why_not(gpu)});
  }
  return all;
}

}  // namespace relume
