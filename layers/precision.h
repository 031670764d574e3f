// How networks compute, by name.
#pragma once

#include <string>

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"
#include "tensor/core/float_products.h"

namespace relume {

struct Precision {
  DType type = DType::f32;  // of the data between layers
  FloatProducts products = FloatProducts::full;
};

// "f32", "tf32" (f32 with rounded products), "bf16" or "f16" on the device. InputError, naming `option`, for all but f32 on the
// CPU, which keeps 16-bit numbers but does not compute in them, and for any other text.
Precision precision_of(const std::string& option, const std::string& text, Device device);

}  // namespace relume
