// NCCL of the simulator: one rank, whose operations are copies. Calls answer that they are in progress and end when they are
// asked about some times, as those of a communicator that does not block.
#pragma once

#include <atomic>

namespace relume::sim {

struct NcclSettings {
  std::atomic<int> polls{3};                  // until a call has ended; below 0: it never does
  std::atomic<bool> other_side_fails{false};  // which is found out when a communicator is asked
  std::atomic<int> alive{0};                  // communicators
  std::atomic<int> aborted{0};                // communicators so far
};
NcclSettings& nccl();

}  // namespace relume::sim
