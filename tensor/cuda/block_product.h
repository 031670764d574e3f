// Products of matrices in shared memory, by all threads of a block: each computes squares of 4 x 4 results in registers and
// reads four numbers at a time.
#pragma once

#include "tensor/cuda/loops.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {

inline constexpr int product_side = 4;
using Quad = Pack<float, product_side>;

template <class I> RELUME_HD inline I whole_quads(I n) { return (n + product_side - 1) / product_side * product_side; }

// From one row of n numbers to the next: rows begin on 16 bytes, and eight neighbouring ones in different banks.
inline int quad_pitch(int n) { return whole_quads(n) + (whole_quads(n) / product_side % 2 == 0 ? product_side : 0); }

// A matrix [side, depth] of a product over the depth. Its rows in memory run along the depth or, turned, along the side.
template <bool turned> struct Factor {
  float* data;
  int pitch;

  __device__ float& at(int row, int column) const { return data[row * pitch + column]; }  // of memory
  __device__ Factor<!turned> transposed() const { return {data, pitch}; }
  // Element m of square s of so many. Neighbouring threads read neighbouring rows of memory, or neighbouring quads of one.
  __device__ static int index(int s, int squares, int m) { return turned ? s * product_side + m : s + m * squares; }

  // to[m][k], four steps of the depth from `depth` on.
  __device__ void read(float (&to)[product_side][product_side], int s, int squares, int depth) const {
    RELUME_UNROLL
    for (int r = 0; r < product_side; ++r) {
      const int row = turned ? depth + r : index(s, squares, r), column = turned ? s * product_side : depth;
      const Quad quad = *reinterpret_cast<const Quad*>(&at(row, column));
      RELUME_UNROLL
      for (int c = 0; c < product_side; ++c) (turned ? to[c][r] : to[r][c]) = quad.at[c];
    }
  }
};

// f(i, j, the sum over k of a[i, k] b[j, k]) for all i below rows and j below columns, and for those up to the next multiples
// of 4, whose values mean nothing. Memory up to these multiples is read; between the depth and its next multiple are zeros.
template <bool a_turned, bool b_turned, class F>
__device__ inline void block_product(int rows, int columns, int depth, Factor<a_turned> a, Factor<b_turned> b, F&& f) {
  const int across = whole_quads(columns) / product_side, down = whole_quads(rows) / product_side;
  for (int square = int(threadIdx.x); square < down * across; square += int(blockDim.x)) {
    const int s = square / across, t = square - s * across;
    float sums[product_side][product_side] = {};
    for (int k = 0; k < depth; k += product_side) {
      float x[product_side][product_side], y[product_side][product_side];
      a.read(x, s, down, k), b.read(y, t, across, k);
      RELUME_UNROLL
      for (int i = 0; i < product_side; ++i)
        RELUME_UNROLL
        for (int j = 0; j < product_side; ++j)
          RELUME_UNROLL
          for (int step = 0; step < product_side; ++step) sums[i][j] = math::fma(x[i][step], y[j][step], sums[i][j]);
    }
    RELUME_UNROLL
    for (int i = 0; i < product_side; ++i)
      RELUME_UNROLL
      for (int j = 0; j < product_side; ++j) f(a.index(s, down, i), b.index(t, across, j), sums[i][j]);
  }
}

}  // namespace relume::cuda
