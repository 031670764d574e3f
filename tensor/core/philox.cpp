#include "tensor/core/philox.h"

#include <numbers>

namespace relume {

std::array<uint32_t, 2> RandomKey::key() const {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a of the purpose, then SplitMix64 over it and the seed
  for (const char c : purpose) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  uint64_t z = hash + (seed + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return {uint32_t(z), uint32_t(z >> 32)};
}

uint32_t RandomStream::bits() {
  if (used_ == 4) {
    block_ = philox4x32(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[size_t(used_++)];
}

double RandomStream::uniform() {
  const uint64_t high = bits() >> 5, low = bits() >> 6;  // 27 + 26 bits
  return double(high << 26 | low) * 0x1p-53;
}

int64_t RandomStream::below(int64_t n) {
  const uint64_t range = uint64_t(n);
  const uint64_t limit = ~uint64_t(0) - (~uint64_t(0) % range + 1) % range;  // the largest multiple of n less one: no bias
  for (;;) {
    const uint64_t high = bits(), word = high << 32 | bits();
    if (word <= limit) return int64_t(word % range);
  }
}

double RandomStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log(1 - uniform())), angle = 2 * std::numbers::pi * uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

}  // namespace relume
