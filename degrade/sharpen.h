// Unsharp masking of the training target (degradation spec D2.7).
#pragma once

#include <cstdint>

#include "tensor/core/tensor.h"

namespace relume {

struct SharpenOptions {
  int64_t size = 51;      // side of the Gaussian in pixels, odd
  double sigma = 0;       // of the Gaussian in pixels; 0: 0.3 ((size - 1) / 2 - 1) + 0.8
  double weight = 0.5;    // of the difference to the blurred picture
  double threshold = 10;  // in grey levels of 255: smaller differences are left alone
};

// What each stage gives: K * x; K * mask, mask = 1 where |x - K * x| * 255 > threshold; the sharpened pictures.
struct Sharpened {
  Tensor blurred, soft_mask, pictures;
};

// f32 [H, W, C] or [N, H, W, C], values in [0, 1]. Throws an InputError unless the size is odd and the numbers are finite.
Sharpened sharpen_stages(const Tensor& pictures, const SharpenOptions& options = {});
inline Tensor sharpen(const Tensor& pictures, const SharpenOptions& options = {}) {
  return sharpen_stages(pictures, options).pictures;
}

}  // namespace relume
