// WebP through libwebp.
#pragma once

#include "data/codec.h"

namespace relume {

// Reads lossy and lossless WebP with alpha, colour profile and orientation; animations are an InputError. Writes lossless WebP,
// so that a restored picture keeps its values: 8 bit, alpha, RGB profile, sides up to 16383; an alpha of 255 everywhere is left
// out by libwebp.
const Codec& webp_codec();

}  // namespace relume
