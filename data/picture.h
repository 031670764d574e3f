// A picture with everything its file carries.
#pragma once

#include <string>

#include "tensor/core/tensor.h"

namespace relume {

struct Picture {
  // [H, W, 3], RGB, turned for viewing: u8, or for 16-bit files f32 in [0, 1], multiples of 1/65535.
  Tensor pixels;
  Tensor alpha;       // [H, W, 1] of the same type; undefined when the file has none
  bool grey = false;  // the file is grey: the three channels are equal
  std::string icc;    // colour profile, for grey pictures a grey one; empty when the file has none
};

// Throws InputError unless the parts fit each other and hold at least one pixel; `who` begins the message.
void check_picture(const Picture& picture, const std::string& who);

// The picture in 8 bit: 16-bit parts rounded to the nearest level, 8-bit ones shared.
Picture to_8_bit(const Picture& picture);

}  // namespace relume
