// Which devices an executable can compute on.
#pragma once

namespace relume {

void register_backends();  // fills the slots of every backend that was built; called once, before the first tensor

// What the CPU's kernels run with.
struct CpuBackend {
  const char* instructions = "";  // "AVX2", "AVX-512"
  int threads = 1;                // of OpenMP
};
CpuBackend cpu_backend();

}  // namespace relume
