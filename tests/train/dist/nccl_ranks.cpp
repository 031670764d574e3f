#include "tests/cuda/runs.h"
#include "tests/train/dist/ranks.h"
#include "train/dist/nccl_communicator.h"

namespace relume::test {

std::string why_no_ranks() { return why_no_device(); }
std::unique_ptr<Communicator> start_ranks() { return make_nccl_communicator(make_communicator(), cuda_device); }
Device device_of_ranks() { return cuda_device; }

}  // namespace relume::test
