// Pictures made by formula.
#pragma once

#include <cmath>
#include <filesystem>
#include <numbers>
#include <string>

#include "base/files.h"
#include "data/image.h"
#include "tensor/core/philox.h"

namespace relume::test {

// A picture with the ingredients of a photograph: a gradient, waves of several lengths, an edge. u8 [height, width, 3].
inline Tensor natural_picture(int64_t height, int64_t width, uint64_t seed) {
  RandomStream random({.seed = seed, .purpose = "natural_picture"});
  const double angle = random.uniform(0, 2 * std::numbers::pi), length = random.uniform(6, 20), edge = random.uniform(0.3, 0.7);
  const double along_x = std::cos(angle), along_y = std::sin(angle),
               tint[3] = {random.uniform(), random.uniform(), random.uniform()};
  Tensor picture = Tensor::empty({height, width, 3}, DType::u8);
  uint8_t* out = picture.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (const double colour : tint) {
        const double wave = std::sin(2 * std::numbers::pi * (along_x * double(x) + along_y * double(y)) / length + 3 * colour);
        const double step = double(x) > edge * double(width) ? 0.15 : -0.15;
        *out++ = uint8_t(255 * (0.5 + 0.2 * wave + step * colour + 0.1 * (double(y) / double(height) - 0.5)));
      }
  return picture;
}

// Writes `count` of them as 0.png, 1.png, ... of 40 x 36 pixels.
inline void write_pictures(const std::filesystem::path& folder, int count, uint64_t seed = 1) {
  make_folder(folder);
  for (int i = 0; i < count; ++i) write_png(folder / (std::to_string(i) + ".png"), natural_picture(36, 40, seed + uint64_t(i)));
}

}  // namespace relume::test
