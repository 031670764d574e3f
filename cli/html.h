// Pieces of HTML and SVG.
#pragma once

#include <string>

#include "tensor/core/tensor.h"

namespace relume {

// Text for element content and attribute values: & < > " ' escaped.
std::string escape_html(const std::string& text);

// u8 [H, W, 3] as a "data:" address: a JPEG inside the page itself.
std::string jpeg_data_url(const Tensor& picture, int quality);

}  // namespace relume
