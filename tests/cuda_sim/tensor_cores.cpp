// Products of matrix fragments and their loads, lane by lane as PTX lays them out.
#include "tests/cuda_sim/tensor_cores.h"

#include <cmath>
#include <cstring>

#include "tests/cuda_sim/sim.h"

namespace relume::sim {
namespace {

constexpr uint32_t whole_warp = 0xffffffffu;
int64_t products = 0;

struct Product {
  float* c;
  const uint32_t *a, *b;
  float (*widen)(uint16_t);
  float number(const uint32_t* pairs, int i) const { return widen(uint16_t(pairs[i / 2] >> i % 2 * 16)); }
};

void multiply(void* const lanes[32], uint32_t) {
  ++products;
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const Product*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 8; ++i) a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = own.number(own.a, i);
    for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + i / 2 * 8][g] = own.number(own.b, i);
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float& sum = static_cast<const Product*>(lanes[lane])->c[i];
      for (int k = 0; k < 16; ++k) sum = std::fma(a[row][k], b[k][column], sum);
    }
}

struct Load {
  uint32_t* to;
  const void* row;
  int count;
  bool transposed;
};

void load_matrices(void* const lanes[32], uint32_t) {
  for (int m = 0; m < static_cast<const Load*>(lanes[0])->count; ++m) {
    uint16_t matrix[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(matrix[r], static_cast<const Load*>(lanes[8 * m + r])->row, sizeof(matrix[r]));
    for (int lane = 0; lane < 32; ++lane) {
      const auto& own = *static_cast<const Load*>(lanes[lane]);
      const int g = lane / 4, t = lane % 4 * 2;
      const uint16_t low = own.transposed ? matrix[t][g] : matrix[g][t];
      const uint16_t high = own.transposed ? matrix[t + 1][g] : matrix[g][t + 1];
      own.to[m] = low | uint32_t(high) << 16;
    }
  }
}

}  // namespace

int64_t tensor_core_products() { return products; }

void mma_m16n8k16(float* c, const uint32_t* a, const uint32_t* b, float (*widen)(uint16_t), Place place) {
  Product own{c, a, b, widen};
  meet(whole_warp, &own, multiply, place);
}

void ldmatrix(uint32_t* to, int count, bool transposed, const void* row, Place place) {
  if (lane() < 8 * count)
    check_shared_row(row, "ldmatrix of a row that is not 16 bytes of shared memory, on their boundary,", place);
  Load own{to, row, count, transposed};
  meet(whole_warp, &own, load_matrices, place);
}

}  // namespace relume::sim
