// Products of matrices that stay in the cache, blocked in registers, on the compiler's vector types: one source for AVX-512 and
// AVX2. What is written has widths padded to a multiple of `lanes`.
#pragma once

#include <xmmintrin.h>

#include <cstddef>
#include <cstring>
#include <utility>

#include "base/rounding.h"

namespace relume::cpu {

#ifdef __AVX512F__
inline constexpr int lanes = 16, tile_rows = 12;  // 32 registers: 24 sums, 2 vectors of b, a broadcast of a
#else
inline constexpr int lanes = 8, tile_rows = 6;  // 16 registers: 12 sums
#endif
inline constexpr int panel_width = 2 * lanes;  // columns of a tile

typedef float Vec __attribute__((vector_size(4 * lanes)));
typedef float Quad __attribute__((vector_size(16)));

// While it lives, results of this thread below the smallest normal float are 0, and so are such operands.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushSubnormals() { _mm_setcsr(before_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  unsigned before_;
};

template <class V = Vec> inline V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
template <class V> inline void store(float* to, V v) { std::memcpy(to, &v, sizeof v); }
// The first `count` elements, all of them where there are no more.
inline void store_first(float* to, Vec v, ptrdiff_t count) {
  if (count >= lanes) return store(to, v);
  float all[lanes];
  store(all, v);
  std::memcpy(to, all, size_t(count) * sizeof(float));
}
inline Vec load_first(const float* from, ptrdiff_t count) {
  if (count >= lanes) return load(from);
  float all[lanes] = {};
  std::memcpy(all, from, size_t(count) * sizeof(float));
  return load(all);
}
inline Vec splat(float x) { return x - Vec{}; }
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }

// to[0, n) = scale * from[0, n), never touching a float beyond: the last vector overlaps the one before it.
template <class V> inline void copy_vectors(float* to, const float* from, ptrdiff_t n, float scale) {
  constexpr ptrdiff_t width = sizeof(V) / sizeof(float);
  const V last = load<V>(from + n - width) * scale;
  for (ptrdiff_t i = 0; i + width <= n; i += width) store(to + i, load<V>(from + i) * scale);
  store(to + n - width, last);
}
inline void copy_row(float* to, const float* from, ptrdiff_t n, float scale) {
  if (n >= lanes && n <= 2 * lanes) {  // the usual heads, without a loop
    const Vec first = load(from) * scale, last = load(from + n - lanes) * scale;
    store(to, first), store(to + n - lanes, last);
    return;
  }
  if (n >= lanes) return copy_vectors<Vec>(to, from, n, scale);
  if (n >= 4) return copy_vectors<Quad>(to, from, n, scale);
  for (ptrdiff_t i = 0; i < n; ++i) to[i] = scale * from[i];
}

namespace detail {
template <int offset, size_t... l> inline Vec interleave(Vec a, Vec b, std::index_sequence<l...>) {
  return __builtin_shufflevector(a, b, int(offset + l / 2 + (l & 1) * lanes)...);
}
}  // namespace detail

// Transposes lanes x lanes floats in registers. Each step rotates the bits of (row, column) by one:
// out[2i + h][2c + b] = in[i + b*lanes/2][c + h*lanes/2].
inline void transpose(Vec (&x)[lanes]) {
  Vec y[lanes];
#pragma GCC unroll 4
  for (int step = 1; step < lanes; step *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < lanes / 2; ++i) {
      y[2 * i] = detail::interleave<0>(x[i], x[i + lanes / 2], std::make_index_sequence<lanes>());
      y[2 * i + 1] = detail::interleave<lanes / 2>(x[i], x[i + lanes / 2], std::make_index_sequence<lanes>());
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) x[i] = y[i];
  }
}

// to [columns, rows] = from [rows, columns] transposed; rows and columns are multiples of lanes.
inline void transpose(float* to, ptrdiff_t to_pitch, const float* from, ptrdiff_t from_pitch, ptrdiff_t rows,
                      ptrdiff_t columns) {
  for (ptrdiff_t i = 0; i < rows; i += lanes)
    for (ptrdiff_t j = 0; j < columns; j += lanes) {
      Vec x[lanes];
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) x[l] = load(from + (i + l) * from_pitch + j);
      transpose(x);
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) store(to + (j + l) * to_pitch + i, x[l]);
    }
}

// The vectors from(j) of columns j combined into one, always as sixteen running results: with vectors of eight, too, a sum gets
// the same bits, so that results do not depend on the instruction set.
template <class From, class Combine> inline Vec reduce_to_vector(ptrdiff_t columns, From&& from, Combine&& combine) {
  Vec even = from(0);
  if constexpr (lanes == 16) {
    for (ptrdiff_t j = lanes; j < columns; j += lanes) even = combine(even, from(j));
  } else if (columns > lanes) {
    Vec odd = from(lanes);
    for (ptrdiff_t j = 2 * lanes; j < columns; j += lanes)
      (j / lanes % 2 ? odd : even) = combine(j / lanes % 2 ? odd : even, from(j));
    even = combine(even, odd);
  }
  return even;
}

// to[i] = the elements of row i of from(i, j), vectors of columns j, combined with combine(Vec, Vec). rows is a multiple of
// lanes.
template <class From, class Combine>
inline void reduce_rows(float* to, ptrdiff_t rows, ptrdiff_t columns, From&& from, Combine&& combine) {
  for (ptrdiff_t i = 0; i < rows; i += lanes) {
    Vec x[lanes];
    for (int l = 0; l < lanes; ++l) {
      x[l] = reduce_to_vector(
          columns, [&](ptrdiff_t j) { return from(i + l, j); }, combine);
    }
    transpose(x);
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int l = 0; l < half; ++l) x[l] = combine(x[l], x[l + half]);
    store(to + i, x[0]);
  }
}

// The left factor: element (row, k) is at data[row * row_step + k * depth_step], so a transposed matrix costs nothing.
struct LeftFactor {
  const float* data;
  ptrdiff_t row_step, depth_step;
};

// The right factor in panels of panel_width columns: element (k, column) of panel p is at data[p * panel_step + k * depth_step
// + column]. A row-major matrix has panel_step panel_width; a packed one (gemm.h) keeps each panel together.
struct RightFactor {
  const float* data;
  ptrdiff_t depth_step, panel_step = panel_width;
};

// Columns: a multiple of lanes; what lies beyond the true ones is computed from what the right factor has there.
struct ProductShape {
  ptrdiff_t rows, columns, depth;
};

namespace detail {
// A value the compiler must hold in a register: else it reads it from memory again for every row, at half the speed.
inline Vec held(Vec v) {
  asm("" : "+v"(v));
  return v;
}

template <int rows, int vectors, class Init, class Finish> inline void tile(ptrdiff_t i, ptrdiff_t j, ptrdiff_t depth,
                                                                            const LeftFactor& a, const float* b,
                                                                            ptrdiff_t b_step, Init& init, Finish& finish) {
  Vec sum[rows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v] = init(i + r, j + v * lanes);
  const float* left = a.data + i * a.row_step;
  // The tile below is fetched meanwhile, each row's next line in turn: rows that lie in the second or third level reach their
  // next lines all at once, and would be waited for. Behind the last row nothing needs to be there.
  constexpr ptrdiff_t line = 16;  // floats
  const float* below = left + rows * a.row_step;
  int row_below = 0;
  for (ptrdiff_t k = 0; k < depth; ++k, left += a.depth_step, b += b_step) {
    if constexpr (rows == tile_rows) {
      if (k % (line / rows) == 0) {
        __builtin_prefetch(below);
        below += a.row_step;
        if (++row_below == rows) row_below = 0, below += line - rows * a.row_step;
      }
    }
    Vec x[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) x[v] = held(load(b + v * lanes));
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const float factor = left[r * a.row_step];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] += factor * x[v];
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) finish(i + r, j + v * lanes, sum[r][v]);
}
}  // namespace detail

// Calls finish(i, j, init(i, j) + sum over k < depth of a(i, k) * b(k, j ..)) for every row i and every vector of columns j.
// The sum runs over k in order, one rounding a term: the same bits whatever the width of the vectors.
template <class Init, class Finish>
inline void product(const ProductShape& shape, const LeftFactor& a, const RightFactor& b, Init&& init, Finish&& finish) {
  const auto column_of_tiles = [&]<int vectors>(ptrdiff_t j) {
    const float* panel = b.data + j / panel_width * b.panel_step + j % panel_width;
    ptrdiff_t i = 0;
    const auto run = [&]<int rows>() {
      for (; i + rows <= shape.rows; i += rows)
        detail::tile<rows, vectors>(i, j, shape.depth, a, panel, b.depth_step, init, finish);
    };
    run.template operator()<tile_rows>();
    if constexpr (tile_rows > 8) run.template operator()<8>();
    run.template operator()<4>();
    run.template operator()<2>();
    run.template operator()<1>();
  };
  ptrdiff_t j = 0;
  for (; j + panel_width <= shape.columns; j += panel_width) column_of_tiles.template operator()<2>(j);
  if (j < shape.columns) column_of_tiles.template operator()<1>(j);
}

}  // namespace relume::cpu
