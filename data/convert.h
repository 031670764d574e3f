// Between 8-bit pictures and the networks' f32 in [0, 1]. Any shape; CPU only.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

Tensor to_float(const Tensor& image);  // u8 -> f32, v / 255

// f32 -> u8 of 255 x, clamped to 0..255; NaN becomes 0.
Tensor to_u8_rounded(const Tensor& image);    // half to even: inside degradations and for metrics (spec degradation D2.5)
Tensor to_u8_truncated(const Tensor& image);  // what the reference saves (spec diffbir 1.1, 5.3 step 8)

// The same on 65536 levels, which stay f32: multiples of 1/65535 in [0, 1].
Tensor to_16_bit_rounded(const Tensor& image);
Tensor to_16_bit_truncated(const Tensor& image);

}  // namespace relume
