// Correlation of pictures with small kernels, border reflect-101 (the edge pixel is not repeated), as OpenCV's filter2D
// (degradation spec D2.2). Accumulates in f32.
#pragma once

#include <span>

#include "degrade/kernels.h"
#include "tensor/core/tensor.h"

namespace relume {

// out[y][x] = sum over (j, i) of kernel[j][i] * image[y + j - kh / 2][x + i - kw / 2], channel by channel.
// image f32 [H, W, C], kernel f32 or f64 [kh, kw]. Taps too small to reach an f32 result (together less than 2^-24 of the
// kernel's absolute sum) are left out.
Tensor filter2d(const Tensor& image, const Tensor& kernel);

// filter2d with kernel[j][i] = column[j] * row[i], at the cost of two one-dimensional passes.
Tensor filter_separable(const Tensor& image, std::span<const double> column, std::span<const double> row);

// filter2d with a blur kernel, as two passes where it is a product of lines.
Tensor blur(const Tensor& image, const BlurKernel& kernel);

}  // namespace relume
