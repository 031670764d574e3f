// What every stage of this folder takes and gives: a picture as an f32 tensor [H, W, C] on the CPU. Stages run on the calling
// thread only, keep no state, and may run on any number of threads at once.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

// `image` with dense rows. Throws unless it is f32 [H, W, C] on the CPU with no empty axis; `operation` begins the message.
inline Tensor checked_picture(const Tensor& image, const char* operation) {
  RELUME_CHECK(image && image.rank() == 3 && image.dtype() == DType::f32 && image.device() == Device{} && image.numel() > 0,
               operation, ": got ", image, "; expected an f32 cpu picture [height, width, channels]");
  return image.contiguous();
}

}  // namespace relume
