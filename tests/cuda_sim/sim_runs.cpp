#include <tuple>

#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/sim.h"

namespace relume::test {

std::string why_no_device() { return {}; }

void for_each_run(const std::function<void(const std::string&)>& run) {
  const sim::Settings kept = sim::settings();
  for (const auto& [order, pattern, name] : {std::tuple{sim::Order::forward, 0x7fc0deadu, "threads in order, NaN"},
                                             std::tuple{sim::Order::backward, 0x4b4b4b4bu, "threads backwards, large numbers"},
                                             std::tuple{sim::Order::shuffled, 0u, "threads shuffled, zeros"}}) {
    sim::settings() = {order, pattern};
    run(name);
  }
  sim::settings() = kept;
}

void for_each_shared_memory(int least_kilobytes, const std::function<void()>& run) {
  const int kept = sim::shared_bytes_per_block();
  for (const int kilobytes : {227, 163, 99}) {
    if (kilobytes < least_kilobytes) continue;
    sim::set_shared_bytes_per_block(kilobytes << 10);
    run();
  }
  sim::set_shared_bytes_per_block(kept);
}

void for_each_card(const std::function<void(const std::string&)>& run) {
  const int kept = sim::seen_machine().multiprocessors;
  for (const int multiprocessors : {1, 8}) {
    sim::seen_machine().multiprocessors = multiprocessors;
    run(std::to_string(multiprocessors) + " multiprocessors");
  }
  sim::seen_machine().multiprocessors = kept;
}

}  // namespace relume::test
