// The demo's opponent: the single Gaussian filter that restores a picture best when one may look at the truth.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// The sigma in [0.2, 5] pixels whose Gaussian blur of `degraded` has the highest PSNR against `truth`, the result clamped and
// rounded to 8 bit: a grid, then golden-section search between the best point's neighbours. Both f32 [H, W, C] in [0, 1], alike
// in size. The result itself goes to *filtered (u8 [H, W, C]) unless it is null.
double best_gaussian_sigma(const Tensor& truth, const Tensor& degraded, Tensor* filtered);

}  // namespace relume
