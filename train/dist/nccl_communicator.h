// The operations of a communicator between GPUs, over NCCL.
#pragma once

#include "train/dist/communicator.h"

namespace relume {

// Takes tensors on `device`, the GPU of this rank. `launched` (make_communicator()) knows the ranks and makes them known to
// each other. Operations are queued on the device's stream and may still run when a call returns; barrier() alone waits. What
// fails or takes too long on the way is aborted, and the next operation throws an Error that says why. A lost rank ends the
// others, as over MPI.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> launched, Device device,
                                                     const WatchdogOptions& options = {});

}  // namespace relume
