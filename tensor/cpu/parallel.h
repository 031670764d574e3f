// How CPU kernels share work: OpenMP over ranges whose cut points do not depend on the number of threads, so neither do
// results.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "tensor/core/serial.h"

namespace relume::cpu {

// Calls f(begin, end) over [0, n) in chunks of `grain`, on all threads when there is more than one chunk; on a serial thread
// (tensor/core/serial.h) one after another. What f throws (memory that cannot be had) is thrown on when all chunks have ended.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks <= 1 || is_serial_thread()) {
    for (int64_t c = 0; c < chunks; ++c) f(c * grain, std::min(n, (c + 1) * grain));
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic)
  for (int64_t c = 0; c < chunks; ++c) {
    try {
      f(c * grain, std::min(n, (c + 1) * grain));
    } catch (...) {  // must not leave the parallel region
#pragma omp critical(relume_parallel_for)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace relume::cpu
