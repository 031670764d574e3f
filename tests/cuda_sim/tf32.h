// The type that tensor cores read floats in.
#pragma once

#include <bit>
#include <cstdint>

namespace relume::sim {

// To the nearest number with 10 bits behind the point, ties to even.
inline float to_tf32(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((u + 0xfffu + (u >> 13 & 1u)) & ~0x1fffu);
}

}  // namespace relume::sim
