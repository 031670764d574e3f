#pragma once

#include "train/dist/communicator.h"

namespace relume {

std::unique_ptr<Communicator> make_mpi_communicator(const WatchdogOptions& options);

}  // namespace relume
