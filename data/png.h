// PNG through libpng.
#pragma once

#include "data/codec.h"

namespace relume {

const Codec& png_codec();

// 8-bit RGB PNG of u8 [H, W, 3].
std::string encode_png(const Tensor& image);

// u8 [H, W, 3]: grey replicated, palette expanded, alpha dropped, 16 bit scaled to 8 (v * 255 / 65535, rounded), orientation of
// an eXIf chunk applied. `name` begins every message. Truncated, damaged or oversized data throw InputError.
Tensor decode_png(std::string_view bytes, const std::string& name = "PNG data", const ImageLimits& limits = {});

}  // namespace relume
