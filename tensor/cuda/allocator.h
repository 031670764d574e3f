#pragma once

namespace relume::cuda {

// Makes cudaMallocAsync's pool of the current device the memory of tensors on it. Called by the backend's registration.
void register_allocator();

}  // namespace relume::cuda
