// Which devices an executable can compute on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/device.h"

namespace relume {

// Fills the slots of the backends that are linked in; called once, before the first tensor.
void register_backends();

// What the CPU's kernels run with.
struct CpuBackend {
  const char* instructions = "";  // "AVX2", "AVX-512"
  int threads = 1;                // of OpenMP
};
CpuBackend cpu_backend();

// Why a GPU cannot be used, and what to do about it; both empty where it can.
struct Obstacle {
  std::string reason, remedy;
  explicit operator bool() const { return !reason.empty(); }
};

struct Gpu {
  std::string name;    // "NVIDIA H100 80GB HBM3"
  int64_t memory = 0;  // bytes
  Obstacle obstacle;
};

struct Gpus {
  std::vector<Gpu> found;  // by index
  Obstacle obstacle;       // why none was found
};

// The GPUs that this process can compute on. The first call loads the CUDA backend where it is not linked in: its libraries
// cost 0.2 s and 0.2 GB, so that is only done where there is a driver.
const Gpus& gpus();

// "cpu"; "cuda": the first GPU that can be used; "cuda:1": that one; "auto": as cuda, or the CPU where there is no such GPU.
// InputError that says why and what to do where the device asked for cannot be used, and for any other text.
Device device_named(const std::string& text);
Device device_named(const std::string& text, const Gpus& gpus);  // the same, given what there is

}  // namespace relume
