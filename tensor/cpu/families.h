// One registration function per op family; each stands at the end of the file of that name and fills the CPU column of its
// slots.
#pragma once

namespace relume::cpu {

void register_memory_kernels();
void register_elementwise_kernels();
void register_reduce_kernels();
void register_gather_kernels();
void register_norm_kernels();
void register_group_norm_kernels();
void register_resample_kernels();
void register_picture_resample_kernels();
void register_random_kernels();
void register_optimizer_kernels();
void register_attention_kernels();
void register_sequence_attention_kernels();
void register_matmul_kernels();
void register_conv_kernels();
void register_picture_correlate_kernels();
void register_picture_noise_kernels();
void register_picture_jpeg_kernels();
void register_picture_sharpen_kernels();

}  // namespace relume::cpu
