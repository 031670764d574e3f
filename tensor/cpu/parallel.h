// How CPU kernels share work: OpenMP over ranges whose cut points do not depend on the number of threads, so neither do
// results.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "tensor/core/serial.h"

namespace relume::cpu {

// Calls f(begin, end) over [0, n) in chunks of `grain`, on all threads when there is more than one chunk; on a serial thread
// (tensor/core/serial.h) one after another.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks <= 1 || is_serial_thread()) {
    for (int64_t c = 0; c < chunks; ++c) f(c * grain, std::min(n, (c + 1) * grain));
    return;
  }
#pragma omp parallel for schedule(dynamic)
  for (int64_t c = 0; c < chunks; ++c) f(c * grain, std::min(n, (c + 1) * grain));
}

}  // namespace relume::cpu
