// Fills the CPU column of every slot. Called once by an executable before it touches a tensor, through register_backends().
#pragma once

#include "tensor/backends.h"

namespace relume {

void register_cpu_kernels();
CpuBackend describe_cpu_backend();

}  // namespace relume
