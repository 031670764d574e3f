// Resizing of 8-bit pictures in Pillow's arithmetic, grey level for grey level (spec degradation D5): antialiased, columns
// first, then rows, weights rounded to multiples of 2^-22, every pass rounded and clamped to 8 bit, passes that keep a size
// left out.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

enum class PilFilter { box, bicubic };  // bicubic: a = -0.5

// u8 [H, W, C] -> u8 [height, width, C].
Tensor pil_resize(const Tensor& image, int64_t height, int64_t width, PilFilter filter);

}  // namespace relume
