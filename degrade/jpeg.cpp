#include "degrade/jpeg.h"

#include "data/convert.h"
#include "data/jpeg.h"

namespace relume {

Tensor add_jpeg(const Tensor& image, int quality) {
  RELUME_CHECK(image && image.rank() == 3 && image.dtype() == DType::f32 && image.device() == Device{} && image.numel() > 0,
               "add_jpeg: got ", image, "; expected an f32 cpu picture [height, width, channels]");
  const Tensor x = image.contiguous();
  RELUME_CHECK(quality >= 1 && quality <= 100, "add_jpeg: quality ", quality, ", expected 1 to 100");
  return to_float(decode_jpeg(encode_jpeg(to_u8_rounded(x), quality), "add_jpeg"));
}

}  // namespace relume
