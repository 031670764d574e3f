#pragma once

namespace relume::cuda {

// Makes cudaMallocAsync's pools the memory of tensors on their devices. Called by the backend's registration; nothing is asked
// of CUDA before the first allocation.
void register_allocators();

}  // namespace relume::cuda
