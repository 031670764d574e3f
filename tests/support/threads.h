// The same result on any number of threads.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <thread>

#include "tensor/core/serial.h"
#include "tests/support/numbers.h"

namespace relume::test {

// Expects the bits of f() to be the same on 1, 2 and 8 threads of OpenMP and on a thread that may not use others.
template <class F> void expect_same_on_any_threads(F&& f) {
  const int before = omp_get_max_threads();
  Tensor serial;
  std::thread([&] {
    make_thread_serial();
    serial = f();
  }).join();
  for (const int threads : {1, 2, 8}) {
    omp_set_num_threads(threads);
    EXPECT_TRUE(same_bits(f(), serial)) << threads << " threads";
  }
  omp_set_num_threads(before);
}

}  // namespace relume::test
