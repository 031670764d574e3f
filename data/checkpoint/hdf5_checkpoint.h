// Which of the datasets in an HDF5 file are the network's.
#pragma once

#include <memory>

#include "data/checkpoint/checkpoint.h"
#include "data/hdf5_file.h"

namespace relume {

// The part of open_checkpoint() for HDF5: plain files of weights and our training states; gives everything but file_bytes.
Checkpoint open_hdf5(std::shared_ptr<const Hdf5File> file, const CheckpointOptions& options);

}  // namespace relume
