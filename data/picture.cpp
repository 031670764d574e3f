#include "data/picture.h"

#include "data/convert.h"

namespace relume {

void check_picture(const Picture& picture, const std::string& who) {
  const Tensor& p = picture.pixels;
  RELUME_CHECK(p && (p.dtype() == DType::u8 || p.dtype() == DType::f32) && p.rank() == 3 && p.shape(2) == 3 && p.numel() > 0 &&
                   p.device() == Device{},
               who, ": expects a picture, u8 or f32 cpu [H, W, 3], got ", p);
  const Tensor& a = picture.alpha;
  RELUME_CHECK(!a || (a.dtype() == p.dtype() && a.device() == Device{} && a.shape() == Shape({p.shape(0), p.shape(1), 1})), who,
               ": expects alpha [H, W, 1] of the type of the pixels ", p, ", got ", a);
}

Picture to_8_bit(const Picture& picture) {
  Picture out = picture;
  for (Tensor* part : {&out.pixels, &out.alpha})
    if (*part && part->dtype() == DType::f32) *part = to_u8_rounded(*part);
  return out;
}

}  // namespace relume
