#include "tensor/backends.h"

#include "tensor/cpu/register.h"

namespace relume {
void register_backends() { register_cpu_kernels(); }
}  // namespace relume
