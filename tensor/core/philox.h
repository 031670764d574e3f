// Counter-based random numbers, Philox 4x32-10 (Salmon et al. 2011), keyed by (seed, purpose, step, sample) (design D5). The
// same key gives the same numbers whatever the thread, rank, batch or device; a resumed run draws what the uninterrupted one
// would have.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace relume {

// One block: four 32-bit words from a 128-bit counter and a 64-bit key.
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * counter[0], b = uint64_t(0xCD9E8D57u) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// Names one stream of numbers. Counter layout: {block, block >> 32, sample, step}; the key hashes seed and purpose.
struct RandomKey {
  uint64_t seed = 0;
  std::string_view purpose;  // "drop_path", "degrade", "init", ...: streams of different purposes never overlap
  uint32_t step = 0;
  uint32_t sample = 0;

  std::array<uint32_t, 2> key() const;
  std::array<uint32_t, 4> counter(uint64_t block) const { return {uint32_t(block), uint32_t(block >> 32), sample, step}; }
};

// 24-bit uniform in [0, 1) from one word: identical on every device.
constexpr float philox_uniform(uint32_t word) { return float(word >> 8) * 0x1p-24f; }

// Draws one after another on the host.
class RandomStream {
 public:
  explicit RandomStream(const RandomKey& key) : key_(key.key()), counter_(key.counter(0)) {}
  uint32_t bits();
  double uniform();  // [0, 1), 53 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  int64_t below(int64_t n);  // 0 .. n-1, unbiased
  double normal();           // N(0, 1), Box-Muller in double

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_, block_{};
  int used_ = 4;
  bool has_spare_ = false;
  double spare_ = 0;
};

}  // namespace relume
