// The colours of a picture taken from another: diffusion restores detail and drifts in colour, the cleaned picture keeps it
// (spec/diffbir.md 5.3, 5.11; StableSR, Wang et al. 2023).
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// The picture blurred with [1 2 1; 2 4 2; 1 2 1] / 16 whose taps lie `radius` pixels apart, its edges repeated. Pictures: f32
// [N, H, W, C].
Tensor wavelet_blur(const Tensor& picture, int64_t radius);

// What is left of a picture after `levels` such blurs, one behind the other, of radius 1, 2, 4, ...
Tensor wavelet_low(const Tensor& picture, int levels = 5);

// The detail of `content` over the colours of `style`: content - low(content) + low(style). Not clamped. Both f32 of one
// shape [N, H, W, C].
Tensor wavelet_colour_fix(const Tensor& content, const Tensor& style, int levels = 5);

// Each channel of each sample of `content` with the mean and the standard deviation, sqrt(unbiased variance + eps), of that of
// `style` (adaptive instance normalisation, Huang and Belongie 2017). Not clamped. Both f32 of one shape [N, H, W, C] on the
// CPU, of at least two pixels.
Tensor adain_colour_fix(const Tensor& content, const Tensor& style, double eps = 1e-5);

}  // namespace relume
