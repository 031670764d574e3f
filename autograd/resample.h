// Differentiable rearrangements of feature maps [N, H, W, C].
#pragma once

#include "autograd/graph.h"
#include "tensor/kernels/resample.h"

namespace relume {

using kernels::Border;

Tensor upsample_nearest(const Tensor& x, int factor);  // [N, f*H, f*W, C]
Tensor pixel_unshuffle(const Tensor& x, int factor);   // [N, H/f, W/f, C*f*f], channel c*f*f + a*f + b
Tensor pixel_shuffle(const Tensor& x, int factor);     // the inverse

// x with `top`, `left`, `bottom`, `right` more pixels (fewer when negative: a crop).
Tensor pad(const Tensor& x, int64_t top, int64_t left, int64_t bottom, int64_t right, Border border);

}  // namespace relume
