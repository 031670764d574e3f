#include <tuple>

#include "tests/cuda/runs.h"
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

}  // namespace relume::test
