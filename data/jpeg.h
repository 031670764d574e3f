// JPEG through libjpeg: accurate integer DCT, 4:2:0, fancy upsampling, the standard Huffman tables: the defaults, so that a
// round trip gives what OpenCV and Pillow give (spec degradation D2.5).
#pragma once

#include "data/codec.h"

namespace relume {

const Codec& jpeg_codec();

// Baseline 4:2:0 JPEG at `quality` 1..100, one channel for a grey picture, with its profile; sides up to 65500. InputError for
// 16 bit and alpha, which JPEG cannot hold. The second: of u8 [H, W, 3].
std::string encode_jpeg(const Picture& picture, int quality);
std::string encode_jpeg(const Tensor& image, int quality);

// u8 [H, W, 3], EXIF orientation applied, grey replicated. `name` begins every message. Truncated, damaged, CMYK, oversized
// data throw InputError; so do the defects that libjpeg itself would paint over with grey.
Tensor decode_jpeg(std::string_view bytes, const std::string& name = "JPEG data", const ImageLimits& limits = {});

}  // namespace relume
