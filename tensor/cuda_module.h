// The CUDA backend as a module that is loaded when it is needed. CUDA's libraries cost a process 0.2 s and 0.2 GB, and one that
// is linked with them does not start where they are missing; so the command is not, and can say what is missing.
#pragma once

#include <filesystem>

#include "tensor/backends.h"

namespace relume {

// Whether the NVIDIA driver's library can be loaded, without which nothing else need be.
Obstacle missing_driver();

std::filesystem::path cuda_module_path();  // beside the executable

// Loads the module, which fills the slots of CUDA from then on, and gives the GPUs it finds. What it shares with this
// executable (slots, tensors, errors) is the executable's, which must export its symbols.
Gpus load_cuda_module(const std::filesystem::path& path);

}  // namespace relume
