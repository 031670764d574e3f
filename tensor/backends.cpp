#include "tensor/backends.h"

#include "tensor/cpu/register.h"
#ifdef RELUME_HAVE_CUDA
#include "tensor/cuda/register.h"
#endif

namespace relume {

void register_backends() {
  register_cpu_kernels();
#ifdef RELUME_HAVE_CUDA
  register_cuda_kernels();
#endif
}

CpuBackend cpu_backend() { return describe_cpu_backend(); }

}  // namespace relume
