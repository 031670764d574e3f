// How fast this machine is, in about two seconds: what the figures of the networks are to be held against.
#pragma once

namespace relume {

struct MachineSpeed {
  double fma_one = 0, fma_all = 0;  // GFLOP/s of f32 fused multiply-adds that never leave the registers: one thread, all
  double bandwidth = 0;             // GB/s of a[i] = b[i] + s c[i] on maps larger than the caches, all threads
  double matmul = 0;                // GFLOP/s of the library's linear map, 2048 rows of 1024 -> 1024
};
MachineSpeed measure_machine(int threads);

}  // namespace relume
