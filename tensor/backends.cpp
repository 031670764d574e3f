#include "tensor/backends.h"

#include "tensor/cpu/register.h"

namespace relume {

void register_backends() { register_cpu_kernels(); }

CpuBackend cpu_backend() { return describe_cpu_backend(); }

}  // namespace relume
