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

// Calls work(i) for i in [0, n), in about this order, on up to `threads` threads of its own. The first exception ends it: what
// is under way is finished, nothing more is begun, and the exception is thrown on. So does an interrupt, as Interrupted.
template <class Work> void for_each_on_threads(int64_t n, int threads, Work&& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  const auto run = [&] {
    for (int64_t i = next++; i < n; i = next++) try {
        throw_if_interrupted();
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
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
