// What a picture format is to this folder: one row of the table in image.cpp. A further format adds one file and one row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/picture.h"

namespace relume {

// What a file may ask for; the header is held against it before anything is allocated.
struct ImageLimits {
  int64_t max_pixels = int64_t(1) << 28;
  int max_scans = 500;  // of a JPEG: each scan is a pass over the whole picture
};

// What a file's header tells, without decoding a pixel.
struct PictureHeader {
  int64_t height = 0, width = 0;  // of the picture as decode() gives it
  bool alpha = false, sixteen_bit = false, grey = false;
  int64_t bytes() const { return height * width * (alpha ? 4 : 3) * (sixteen_bit ? 4 : 1); }  // of the decoded picture
};

struct DecodedPicture {
  Picture picture;      // rows in file order
  int orientation = 1;  // EXIF 1..8: how the picture is to be turned for viewing
};

struct Codec {
  std::string name;                     // "JPEG"
  std::vector<std::string> extensions;  // lower case with the dot
  bool holds_alpha, holds_16_bit;
  bool holds_grey;   // stores one channel, so that a grey profile fits
  int64_t max_side;  // of a picture that can be written
  bool (*recognises)(std::string_view bytes);
  // Throws InputError beginning with `name` for anything that is not a whole, undamaged picture within the limits. A broken
  // colour profile does not make a broken picture: it is left out.
  DecodedPicture (*decode)(std::string_view bytes, const std::string& name, const ImageLimits& limits);
  // The same errors as far as the header goes; sides are exchanged where a PNG tells its orientation only behind its pixels.
  PictureHeader (*header)(std::string_view bytes, const std::string& name, const ImageLimits& limits);
  std::string (*encode)(const Picture& picture);  // of a picture that the format holds
};

// The header with its sides exchanged where the EXIF orientation turns the picture by a quarter.
inline PictureHeader turned(PictureHeader header, int orientation) {
  if (orientation >= 5) std::swap(header.height, header.width);
  return header;
}

// Throws InputError when a header asks for an empty picture or one above limits.max_pixels.
void check_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits);

constexpr int64_t max_icc_bytes = int64_t(1) << 22;

// `icc` where it is a profile for RGB (or grey) pictures by its header (ICC.1:2010, 7.2) and of at most max_icc_bytes, else "".
std::string usable_icc(std::string_view icc, bool grey);

// Rows of RGBA samples, `count` pixels, to three channels and one: what decoders that interleave alpha share.
template <class T> void split_alpha(const T* rgba, int64_t count, T* rgb, T* alpha) {
  for (int64_t i = 0; i < count; ++i, rgba += 4, rgb += 3) {
    for (int c = 0; c < 3; ++c) rgb[c] = rgba[c];
    alpha[i] = rgba[3];
  }
}

}  // namespace relume
