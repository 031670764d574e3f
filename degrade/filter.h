// Correlation of pictures with small kernels, border reflect-101 (the edge pixel is not repeated), as OpenCV's filter2D and the
// field's batch filter (degradation spec D2.2). Accumulates in f32. Pictures are f32 [H, W, C] or [N, H, W, C].
#pragma once

#include <span>

#include "degrade/kernels.h"
#include "tensor/core/tensor.h"

namespace relume {

// out[y][x] = sum over (j, i) of kernel[j][i] * picture[y + j - kh / 2][x + i - kw / 2], channel by channel. kernels floats
// [kh, kw] or [1, kh, kw] for all pictures, or [N, kh, kw]. Taps too small to reach an f32 result are left out, so zeros around
// a kernel cost nothing, and a smooth kernel may be taken as a sum of a few products of lines: exact to 2^-22 of the kernel's
// absolute sum.
Tensor filter2d(const Tensor& pictures, const Tensor& kernels);

// filter2d with kernel[j][i] = column[j] * row[i], at the cost of two one-dimensional passes.
Tensor filter_separable(const Tensor& pictures, std::span<const double> column, std::span<const double> row);

// filter2d with one blur kernel for all pictures or one each, as two passes where it is a product of lines. The pictures
// themselves when every kernel is the unit pulse. With `rows` (increasing) only these are computed, for a reduction that reads
// no others; what the others hold is not said.
Tensor blur(const Tensor& pictures, std::span<const BlurKernel> kernels, std::span<const int64_t> rows = {});
inline Tensor blur(const Tensor& pictures, const BlurKernel& kernel) { return blur(pictures, {&kernel, 1}); }

}  // namespace relume
