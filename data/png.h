// PNG through libpng.
#pragma once

#include "data/codec.h"

namespace relume {

// Reads every kind of PNG; a transparent colour becomes alpha, texts are skipped uninflated, a profile that libpng refuses is
// left out.
const Codec& png_codec();

// PNG of 8 or 16 bit, grey or RGB, with alpha and profile as the picture has them; 16-bit values are clamped to [0, 1] and
// rounded to the nearest level. The second: 8-bit RGB of u8 [H, W, 3].
std::string encode_png(const Picture& picture);
std::string encode_png(const Tensor& image);

}  // namespace relume
