// Normal deviates from random words (design D5), the same on every device.
#pragma once

#include <cstdint>

#include "tensor/scalar/hd.h"
#include "tensor/scalar/math.h"

namespace relume {

// Box-Muller: two independent N(0, 1) values from two words, through their 24-bit uniforms u = (word >> 8) 2^-24:
// sqrt(-2 ln(1 - u_a)) times cos and sin of 2 pi u_b. |z| <= 5.77.
template <class T> RELUME_HD inline void box_muller(uint32_t a, uint32_t b, T& z0, T& z1) {
  const T radius = math::sqrt(T(-2) * math::log(T(int32_t(0x1000000u - (a >> 8))) * T(0x1p-24)));
  T sine, cosine;
  math::sincospi(T(int32_t(b >> 8)) * T(0x1p-23), sine, cosine);
  z0 = radius * cosine;
  z1 = radius * sine;
}

}  // namespace relume
