#include <cuda_runtime_api.h>

#include "tests/cuda/runs.h"

namespace relume::test {

std::string why_no_device() {
  int count = 0;
  const cudaError_t result = cudaGetDeviceCount(&count);
  if (result != cudaSuccess) return std::string("no CUDA device: ") + cudaGetErrorString(result);
  return count > 0 ? "" : "no CUDA device on this machine";
}

void for_each_run(const std::function<void(const std::string&)>& run) { run("device"); }
void for_each_shared_memory(int, const std::function<void()>& run) { run(); }
void for_each_card(const std::function<void(const std::string&)>& run) { run("device"); }

}  // namespace relume::test
