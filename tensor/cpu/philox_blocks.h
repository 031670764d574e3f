// Philox over several consecutive blocks side by side in vectors (tensor/core/philox.h has the plain form).
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <array>
#include <cstdint>

#include "tensor/core/philox.h"

namespace relume::cpu {

inline constexpr int philox_lanes = 16;
struct PhiloxWords {
  uint32_t word[4][philox_lanes];  // word w of block first + l
};

// Words in the lower halves of 64-bit lanes, so that a product keeps its lane; what the upper halves hold does not matter.
using WideWords [[gnu::vector_size(8 * sizeof(uint64_t))]] = uint64_t;

// product = the lower halves of x times a number. By intrinsics where there are any: g++ 12 makes three products of the plain
// form. (No vector is passed by value: how depends on the instruction set.)
inline void wide_product(WideWords& product, const WideWords& x, uint32_t factor) {
#if defined(__AVX512F__)
  product = WideWords(_mm512_maskz_mul_epu32(0xFF, __m512i(x), _mm512_set1_epi64(factor)));  // unmasked warns: GCC bug 105593
#elif defined(__AVX2__)
  union {
    WideWords words;
    __m256i half[2];
  } v{x};
  for (__m256i& half : v.half) half = _mm256_mul_epu32(half, _mm256_set1_epi64x(factor));
  product = v.words;
#else
  product = (x & 0xFFFFFFFFu) * factor;
#endif
}

inline PhiloxWords philox_blocks(const RandomKey& key, std::array<uint32_t, 2> round_key, uint64_t first) {
  constexpr WideWords lane{0, 1, 2, 3, 4, 5, 6, 7};
  constexpr int halves = philox_lanes / 8;
  WideWords c[4][halves];
  for (int h = 0; h < halves; ++h) {
    const WideWords block = lane + (first + uint64_t(8 * h));
    c[0][h] = block, c[1][h] = block >> 32, c[2][h] = WideWords{} + key.sample, c[3][h] = WideWords{} + key.step;
  }
  for (int round = 0; round < 10; ++round) {
    for (int h = 0; h < halves; ++h) {
      WideWords a, b;
      wide_product(a, c[0][h], 0xD2511F53u);
      wide_product(b, c[2][h], 0xCD9E8D57u);
      c[0][h] = b >> 32 ^ c[1][h] ^ uint64_t(round_key[0]);
      c[1][h] = b;
      c[2][h] = a >> 32 ^ c[3][h] ^ uint64_t(round_key[1]);
      c[3][h] = a;
    }
    round_key[0] += 0x9E3779B9u;
    round_key[1] += 0xBB67AE85u;
  }
  PhiloxWords words;
  for (int w = 0; w < 4; ++w)
    for (int l = 0; l < philox_lanes; ++l) words.word[w][l] = uint32_t(c[w][l / 8][l % 8]);
  return words;
}

}  // namespace relume::cpu
