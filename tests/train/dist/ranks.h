// How the tests of communicators get theirs. One of ranks.cpp (MPI, or one rank by itself) and nccl_ranks.cpp is linked.
#pragma once

#include <memory>
#include <string>

#include "train/dist/communicator.h"

namespace relume::test {

// Empty, or why there can be none on this machine.
std::string why_no_ranks();

std::unique_ptr<Communicator> start_ranks();
Device device_of_ranks();

}  // namespace relume::test
