// Which devices an executable can compute on.
#pragma once

#include <string>

namespace relume {

void register_backends();  // fills the slots of every backend that was built; called once, before the first tensor

// What the CPU's kernels run with.
struct CpuBackend {
  std::string onednn;        // version of the library, "2.6.3"
  std::string instructions;  // the richest set that oneDNN uses here: "AVX2", "AVX-512 with VNNI"
  int threads = 1;           // of OpenMP
};
CpuBackend cpu_backend();

}  // namespace relume
