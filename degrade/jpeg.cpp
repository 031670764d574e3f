#include "degrade/jpeg.h"

#include "data/convert.h"
#include "data/jpeg.h"
#include "degrade/picture.h"

namespace relume {

Tensor add_jpeg(const Tensor& image, int quality) {
  const Tensor x = checked_picture(image, "add_jpeg");
  RELUME_CHECK(quality >= 1 && quality <= 100, "add_jpeg: quality ", quality, ", expected 1 to 100");
  return to_float(decode_jpeg(encode_jpeg(to_u8_rounded(x), quality), "add_jpeg"));
}

}  // namespace relume
