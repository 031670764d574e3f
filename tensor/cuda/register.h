#pragma once

#include "tensor/backends.h"

namespace relume {

// Fills the CUDA column of the slots and makes CUDA's memory known. On a machine without a GPU the slots exist all the same;
// what fails there is the first allocation.
void register_cuda_kernels();

// The GPUs that the driver shows, and what keeps this build from using them.
Gpus cuda_gpus();

}  // namespace relume
