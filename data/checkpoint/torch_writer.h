// Writes what torch.load reads, with weights_only=True too: PyTorch's ZIP layout, a dict from names to contiguous tensors.
#pragma once

#include <filesystem>

#include "tensor/core/source.h"

namespace relume {

// Writes a source's tensors atomically, one at a time, in its order. Names must be valid UTF-8.
void write_torch(const std::filesystem::path& path, const TensorSource& source);

}  // namespace relume
