// Resizing as OpenCV's cv2.resize does it on float pictures (degradation spec D2.6): half-pixel centres, border replicate, no
// antialiasing but for `area`. Accumulates in f32, columns first.
#pragma once

#include <cstdint>

#include "tensor/core/tensor.h"

namespace relume {

enum class OpencvResize {
  linear,
  area,   // mean over the box a pixel covers; where either side grows, OpenCV's own mixture of linear and nearest
  cubic,  // a = -0.75; may leave the range of its input
};

// f32 [H, W, C] -> f32 [height, width, C]; the picture itself when the size is kept.
Tensor resize_opencv(const Tensor& image, int64_t height, int64_t width, OpencvResize mode);

// A side reduced by a factor: the floor of the real quotient, at most `side` / `factor` however that rounds (Python's
// int(side // factor)).
int64_t reduced_side(int64_t side, double factor);

}  // namespace relume
