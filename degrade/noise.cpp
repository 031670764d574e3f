#include "degrade/noise.h"

#include <algorithm>

#include "degrade/picture.h"

namespace relume {

Tensor add_gaussian_noise(const Tensor& image, const Tensor& field, double sigma) {
  const Tensor x = checked_picture(image, "add_gaussian_noise"), noise = checked_picture(field, "add_gaussian_noise");
  RELUME_CHECK(x.shape() == noise.shape(), "add_gaussian_noise: picture ", image, " and noise ", field, " differ in shape");
  Tensor out = empty_like(x);
  const float *from = x.data<float>(), *n = noise.data<float>(), scale = float(sigma / 255);
  float* to = out.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) to[i] = std::min(1.0f, std::max(0.0f, from[i] + n[i] * scale));
  return out;
}

}  // namespace relume
