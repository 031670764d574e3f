// Many independent pieces of work on a few threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/interrupt.h"

namespace relume {

// Calls work(i) for i in [0, n), in about this order, on up to `threads` threads of its own. An exception ends it: what is
// under way is finished, nothing more is begun, and the exception is thrown on, of several that of the lowest i. So does an
// interrupt, as Interrupted.
template <class Work> void for_each_on_threads(int64_t n, int threads, Work&& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  int64_t failed = n;
  const auto run = [&] {
    for (int64_t i = next++; i < n; i = next++) try {
        throw_if_interrupted();
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed) error = std::current_exception(), failed = i;
        next = n;
      }
  };
  {
    std::vector<std::jthread> team;
    for (int64_t t = 0; t < std::min<int64_t>(threads, n); ++t) team.emplace_back(run);
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace relume
