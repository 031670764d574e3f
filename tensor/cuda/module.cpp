// The one entry of the backend as a module (tensor/cuda_module.h).
#include "tensor/cuda/register.h"

extern "C" void relume_load_cuda(relume::Gpus& found) {
  relume::register_cuda_kernels();
  found = relume::cuda_gpus();
}
