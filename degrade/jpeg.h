// JPEG artefacts by the real codec (degradation spec D2.5, CPU).
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// f32 RGB [H, W, 3] -> the same after clamping to [0, 1], rounding to 8 bits (half to even), encoding with 4:2:0 sub-sampling
// at `quality` (1 to 100) and decoding: multiples of 1/255.
Tensor add_jpeg(const Tensor& image, int quality);

}  // namespace relume
