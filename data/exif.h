// The one EXIF field that changes pixels.
#pragma once

#include <string_view>

#include "tensor/core/tensor.h"

namespace relume {

// Orientation (tag 0x0112, 1..8) from a TIFF block, with or without the "Exif\0\0" prefix of JPEG. 1 when the block is
// malformed or has no such tag: a broken comment does not make a broken picture.
int exif_orientation(std::string_view tiff);

// The picture turned for viewing: [H, W, C] -> [H, W, C] for orientations 1..4, [W, H, C] for 5..8 (EXIF 2.3, 4.6.4 A).
Tensor apply_orientation(const Tensor& image, int orientation);

}  // namespace relume
