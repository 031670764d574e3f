// Slots that rearrange or resample feature maps [N, H, W, C]. Float dtypes, dense.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// y [N, f*H, f*W, C] = x [N, H, W, C], each pixel repeated f x f times (nearest neighbour).
inline Kernel<void(const Tensor& y, const Tensor& x, int factor)> upsample_nearest_forward{"upsample_nearest_forward"};
// dx[n, i, j, c] = sum of dy over the f x f pixels made from it.
inline Kernel<void(const Tensor& dx, const Tensor& dy, int factor)> upsample_nearest_backward{"upsample_nearest_backward"};

// Pixel unshuffle by f: y [N, H/f, W/f, C*f*f], y[n, i, j, c*f*f + a*f + b] = x[n, i*f + a, j*f + b, c] (the published channel
// order, spec 2.1). H and W are multiples of f.
inline Kernel<void(const Tensor& y, const Tensor& x, int factor)> pixel_unshuffle{"pixel_unshuffle"};
// The inverse, which is also its gradient: x [N, H, W, C*f*f] to y [N, H*f, W*f, C].
inline Kernel<void(const Tensor& y, const Tensor& x, int factor)> pixel_shuffle{"pixel_shuffle"};

// How pixels beyond the border are made: zero; reflect (the edge is not repeated: 2 1 0 1 2 1 0); replicate (the edge
// repeated).
enum class Border { zero, reflect, replicate };
// y [N, top+H+bottom, left+W+right, C]: x with a border; negative amounts crop. top and left are the offsets of x inside y, the
// rest follows from the shapes. reflect needs less than H (W) rows (columns) on each side.
inline Kernel<void(const Tensor& y, const Tensor& x, int64_t top, int64_t left, Border border)> pad_forward{"pad_forward"};
// dx = sum of dy over the pixels each pixel of x was copied to.
inline Kernel<void(const Tensor& dx, const Tensor& dy, int64_t top, int64_t left, Border border)> pad_backward{"pad_backward"};

template <class F> void for_each_resample_slot(F&& f) {
  f(upsample_nearest_forward), f(upsample_nearest_backward), f(pixel_unshuffle), f(pixel_shuffle), f(pad_forward),
      f(pad_backward);
}

}  // namespace relume::kernels
