#include "tensor/cuda/register.h"

#include "tensor/cuda/allocator.h"
#include "tensor/cuda/families.h"

namespace relume {

void register_cuda_kernels() {
  cuda::register_allocators();
  cuda::register_memory_kernels();
  cuda::register_upload_kernels();
  cuda::register_captured_calls();
  cuda::register_elementwise_kernels();
  cuda::register_reduce_kernels();
  cuda::register_attention_kernels();
  cuda::register_sequence_attention_kernels();
  cuda::register_gather_kernels();
  cuda::register_norm_kernels();
  cuda::register_group_norm_kernels();
  cuda::register_matmul_kernels();
  cuda::register_resample_kernels();
  cuda::register_conv_kernels();
  cuda::register_random_kernels();
  cuda::register_optimizer_kernels();
  cuda::register_picture_correlate_kernels();
  cuda::register_picture_jpeg_kernels();
  cuda::register_picture_noise_kernels();
  cuda::register_picture_resample_kernels();
  cuda::register_picture_sharpen_kernels();
}

}  // namespace relume
