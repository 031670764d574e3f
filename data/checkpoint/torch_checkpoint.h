// Which of the tensors in a file of PyTorch are the network's.
#pragma once

#include "base/files.h"
#include "data/checkpoint/checkpoint.h"

namespace relume {

// The part of open_checkpoint() for what torch.save writes; gives everything but file_bytes.
Checkpoint open_torch(MappedFile file, const std::string& where, const CheckpointOptions& options);

}  // namespace relume
