// The cuDNN of the simulator: the few functions that tensor/cuda calls, over the real header. A descriptor is what was set in
// it; finalizing checks what cuDNN checks; executing computes with plain loops in double, straight from the strides.
#pragma once

#include <cstdint>

namespace relume::sim {

// Execution plans that were finalized since the start.
int64_t plans_built();

}  // namespace relume::sim
