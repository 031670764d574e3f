// One registration function per op family; each stands at the end of the file of that name and fills the CUDA column of its
// slots.
#pragma once

namespace relume::cuda {

void register_memory_kernels();
void register_elementwise_kernels();
void register_reduce_kernels();
void register_norm_kernels();
void register_matmul_kernels();
void register_resample_kernels();
void register_random_kernels();
void register_optimizer_kernels();

}  // namespace relume::cuda
