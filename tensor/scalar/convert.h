// Conversion between element types, the same on every device.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "tensor/core/half.h"
#include "tensor/scalar/hd.h"

namespace relume {

template <class T> inline constexpr bool is_16bit = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

// To integers values saturate and NaN becomes 0; fractions are rounded half to even for u8 (pictures), else cut off. To boolean
// everything but 0 becomes 1.
template <class To, class From> RELUME_HD inline void convert(To& to, From x) {
  if constexpr (is_16bit<From>) {
    convert(to, float(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    to = x != From(0);
  } else if constexpr (is_16bit<To>) {
    to.bits = To(float(x)).bits;  // by member: g++ 12 does not vectorise the assignment of the struct
  } else if constexpr (std::is_floating_point_v<To>) {
    to = To(x);
  } else if constexpr (std::is_floating_point_v<From>) {
    constexpr To low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    const From whole = sizeof(To) == 1 ? std::rint(x) : x;
    if constexpr (sizeof(To) == 1)  // through int32, which vectorises; a NaN fails both comparisons
      to = To(int32_t(whole > From(0) ? (whole < From(255) ? whole : From(255)) : From(0)));
    else
      to = whole >= From(high) ? high : whole > From(low) ? To(whole) : whole <= From(low) ? low : To(0);
  } else {
    to = To(std::clamp<int64_t>(x, std::numeric_limits<To>::min(), std::numeric_limits<To>::max()));
  }
}

}  // namespace relume
