// What a picture format is to this folder: one row of the table in image.cpp. A further format adds one file and one row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

// What a file may ask for; the header is held against it before anything is allocated.
struct ImageLimits {
  int64_t max_pixels = int64_t(1) << 28;
  int max_scans = 500;  // of a JPEG: each scan is a pass over the whole picture
};

// A picture as its file stores it. What else a file carries (alpha, a colour profile) has its place here, beside the pixels:
// decoders drop alpha, as the pipelines want it (spec diffbir 1.1).
struct DecodedImage {
  Tensor pixels;        // u8 [H, W, 3], RGB, rows in file order
  int orientation = 1;  // EXIF 1..8: how the pixels are to be turned for viewing
};

struct Codec {
  std::string name;                     // "JPEG"
  std::vector<std::string> extensions;  // lower case with the dot
  bool (*recognises)(std::string_view bytes);
  // Throws InputError beginning with `name` for anything that is not a whole, undamaged picture within the limits.
  DecodedImage (*decode)(std::string_view bytes, const std::string& name, const ImageLimits& limits);
  std::string (*encode)(const Tensor& image);
};

// Throws InputError when a header asks for an empty picture or one above limits.max_pixels.
void check_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits);

// Throws InputError unless `image` is a CPU picture, u8 [H, W, 3] with at least one pixel; `who` begins the message.
void check_picture(const Tensor& image, const std::string& who);

}  // namespace relume
