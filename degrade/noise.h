// Noise (degradation spec D2.3).
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// clamp(image + field * sigma / 255, 0, 1): image and field f32 [H, W, C], field of N(0, 1), sigma in 8-bit units. No rounding.
Tensor add_gaussian_noise(const Tensor& image, const Tensor& field, double sigma);

}  // namespace relume
