#include "data/exif.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace relume {
namespace {

// Reads of a TIFF block in its byte order; outside the block they give 0.
struct Tiff {
  std::string_view bytes;
  bool little;

  uint32_t number(uint64_t at, int size) const {
    if (at + uint64_t(size) > bytes.size()) return 0;
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) value = value << 8 | uint8_t(bytes[at + uint64_t(little ? size - 1 - i : i)]);
    return value;
  }
};

}  // namespace

int exif_orientation(std::string_view tiff) {
  using namespace std::string_view_literals;
  if (tiff.starts_with("Exif\0\0"sv)) tiff.remove_prefix(6);
  if (!tiff.starts_with("II*\0"sv) && !tiff.starts_with("MM\0*"sv)) return 1;
  const Tiff block{tiff, tiff[0] == 'I'};
  const uint64_t directory = block.number(4, 4);
  const uint32_t entries = block.number(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + 12 * i;
    if (block.number(entry, 2) != 0x0112) continue;
    const uint32_t type = block.number(entry + 2, 2);
    if ((type != 3 && type != 4) || block.number(entry + 4, 4) != 1) return 1;
    const uint32_t value = block.number(entry + 8, type == 3 ? 2 : 4);
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

Tensor apply_orientation(const Tensor& image, int orientation) {
  RELUME_CHECK(orientation >= 1 && orientation <= 8, "orientation: ", orientation, " is none of 1..8");
  if (orientation == 1) return image;
  const Tensor source = image.contiguous();
  const int64_t h = source.shape(0), w = source.shape(1), pixel = source.shape(2) * size_of(source.dtype());
  const bool turned = orientation >= 5;
  const bool flip_rows = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool flip_columns = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const int64_t out_h = turned ? w : h, out_w = turned ? h : w;
  Tensor out = Tensor::empty({out_h, out_w, source.shape(2)}, source.dtype());

  // The source pixel moves by a constant step per output column and per output row.
  const int64_t row = w * pixel, down = flip_rows ? -row : row, right = flip_columns ? -pixel : pixel;
  const int64_t step_x = turned ? down : right, step_y = turned ? right : down;
  const char* from =
      static_cast<const char*>(source.raw()) + (flip_rows ? (h - 1) * row : 0) + (flip_columns ? row - pixel : 0);
  char* to = static_cast<char*>(out.raw());
  constexpr int64_t block = 64;  // a turned picture is walked in blocks that stay in the cache
  for (int64_t y0 = 0; y0 < out_h; y0 += block)
    for (int64_t x0 = 0; x0 < out_w; x0 += block)
      for (int64_t y = y0; y < std::min(out_h, y0 + block); ++y)
        for (int64_t x = x0; x < std::min(out_w, x0 + block); ++x)
          std::memcpy(to + (y * out_w + x) * pixel, from + y * step_y + x * step_x, size_t(pixel));
  return out;
}

}  // namespace relume
