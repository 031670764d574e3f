// The types that networks compute in, by name.
#pragma once

#include <string>

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"

namespace relume {

// "f32", "bf16" or "f16" on the device. InputError, naming `option`, for 16 bits on the CPU, which keeps such numbers but does
// not compute in them, and for any other text.
DType compute_type(const std::string& option, const std::string& text, Device device);

}  // namespace relume
