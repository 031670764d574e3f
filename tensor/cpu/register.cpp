#include "tensor/cpu/register.h"

#include "tensor/cpu/families.h"
#include "tensor/cpu/parallel.h"

namespace relume {

void register_cpu_kernels() {
  cpu::register_memory_kernels();
  cpu::register_elementwise_kernels();
  cpu::register_reduce_kernels();
  cpu::register_gather_kernels();
  cpu::register_norm_kernels();
  cpu::register_group_norm_kernels();
  cpu::register_resample_kernels();
  cpu::register_picture_resample_kernels();
  cpu::register_random_kernels();
  cpu::register_optimizer_kernels();
  cpu::register_attention_kernels();
  cpu::register_sequence_attention_kernels();
  cpu::register_matmul_kernels();
  cpu::register_conv_kernels();
  cpu::register_picture_correlate_kernels();
  cpu::register_picture_noise_kernels();
  cpu::register_picture_jpeg_kernels();
  cpu::register_picture_sharpen_kernels();
}

CpuBackend describe_cpu_backend() {
#ifdef __AVX512F__
  constexpr const char* instructions = "AVX-512";
#else
  constexpr const char* instructions = "AVX2";
#endif
  return {.instructions = instructions, .threads = omp_get_max_threads()};
}

}  // namespace relume
