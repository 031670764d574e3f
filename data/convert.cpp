#include "data/convert.h"

#include <cmath>

namespace relume {
namespace {

template <class From, class To, class Function> Tensor map(const Tensor& image, const char* name, Function function) {
  RELUME_CHECK(image && image.dtype() == dtype_of<From> && image.device() == Device{}, name, ": expects a ", dtype_of<From>,
               " cpu tensor, got ", image);
  const Tensor source = image.contiguous();
  Tensor out = Tensor::empty(source.shape(), dtype_of<To>);
  const From* from = source.data<From>();
  To* to = out.data<To>();
  const int64_t count = source.numel();
  for (int64_t i = 0; i < count; ++i) to[i] = function(from[i]);
  return out;
}

// Written so that NaN fails the first comparison.
float scaled(float x, float levels = 255.0f) { return x > 0 ? (x < 1 ? x * levels : levels) : 0.0f; }

}  // namespace

Tensor to_float(const Tensor& image) {
  return map<uint8_t, float>(image, "to_float", [](uint8_t v) { return float(v) / 255.0f; });
}

Tensor to_u8_rounded(const Tensor& image) {
  return map<float, uint8_t>(image, "to_u8_rounded", [](float x) { return uint8_t(int(std::nearbyint(scaled(x)))); });
}

Tensor to_u8_truncated(const Tensor& image) {
  return map<float, uint8_t>(image, "to_u8_truncated", [](float x) { return uint8_t(int(scaled(x))); });
}

Tensor to_16_bit_rounded(const Tensor& image) {
  return map<float, float>(image, "to_16_bit_rounded", [](float x) { return std::nearbyint(scaled(x, 65535.0f)) / 65535.0f; });
}

Tensor to_16_bit_truncated(const Tensor& image) {
  return map<float, float>(image, "to_16_bit_truncated", [](float x) { return float(int(scaled(x, 65535.0f))) / 65535.0f; });
}

}  // namespace relume
