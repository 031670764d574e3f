#pragma once

#include <cstdint>

namespace relume::sim {

int64_t tensor_core_products();  // of all kernels yet

}  // namespace relume::sim
