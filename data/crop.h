// From a picture of any size to a square training sample (spec degradation D5).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tensor/core/philox.h"
#include "tensor/core/tensor.h"

namespace relume {

enum class CropKind {
  none,    // the picture must have exactly the wanted size
  center,  // short side resized to the size, middle cut out
  random,  // short side resized to a random length between size and size / min_fraction, random place
  patch,   // a random place of the picture as it is, never resized
};
CropKind parse_crop_kind(
    std::string_view name);  // "none", "center", "random", "patch"; InputError with the nearest name otherwise

struct CropOptions {
  CropKind kind = CropKind::center;
  int64_t size = 512;
  double min_fraction = 0.7;  // random only, in (0, 1]
};

// Every random choice of one crop, so that it can be recorded and replayed.
struct CropPlan {
  int64_t short_side = 0;  // after resizing; 0: the picture is not resized
  int64_t y = 0, x = 0;    // upper left corner in the resized picture
  bool operator==(const CropPlan&) const = default;
};

// Chooses a crop of a picture of height x width pixels. `name` begins the message when none or patch cannot be met.
CropPlan plan_crop(int64_t height, int64_t width, const CropOptions& options, RandomStream& random, const std::string& name);

// u8 [H, W, 3] -> u8 [size, size, 3]. While the short side is at least twice the target it is halved by a box filter, then
// resized by Pillow's bicubic; small pictures are enlarged.
Tensor apply_crop(const Tensor& image, int64_t size, const CropPlan& plan);

Tensor cut(const Tensor& image, int64_t y, int64_t x, int64_t height,
           int64_t width);  // [H, W, C] -> [height, width, C], a copy
// A picture whose long side exceeds max_side, reduced to it with Pillow's bicubic (antialiased); others, and with max_side 0
// all, as they are.
Tensor reduced_to_side(const Tensor& image, int64_t max_side);

Tensor flip_horizontal(const Tensor& image);  // [H, W, C] mirrored left to right

}  // namespace relume
