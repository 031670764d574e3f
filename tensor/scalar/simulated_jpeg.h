// What the simulated JPEG is made of (degradation spec D2.5, batch), for single numbers and for vectors of them.
#pragma once

#include <array>

#include "tensor/scalar/hd.h"

namespace relume::jpeg {

inline constexpr int side = 16;  // of a square: one 4:2:0 unit

inline constexpr std::array<std::array<float, 8>, 8> luma_table{{{16, 11, 10, 16, 24, 40, 51, 61},
                                                                 {12, 12, 14, 19, 26, 58, 60, 55},
                                                                 {14, 13, 16, 24, 40, 57, 69, 56},
                                                                 {14, 17, 22, 29, 51, 87, 80, 62},
                                                                 {18, 22, 37, 56, 68, 109, 103, 77},
                                                                 {24, 35, 55, 64, 81, 104, 113, 92},
                                                                 {49, 64, 78, 87, 103, 121, 120, 101},
                                                                 {72, 92, 95, 98, 112, 100, 103, 99}}};
constexpr float chroma_entry(int u, int v) {
  constexpr float corner[4][4] = {{17, 18, 24, 47}, {18, 21, 26, 66}, {24, 26, 56, 99}, {47, 66, 99, 99}};
  return u < 4 && v < 4 ? corner[u][v] : 99;
}

// Quantisation steps of quality 50, [vertical][horizontal frequency].
struct Tables {
  std::array<std::array<float, 8>, 8> luma{}, chroma{};
  constexpr explicit Tables(bool transposed_luma) {
    for (size_t u = 0; u < 8; ++u)
      for (size_t v = 0; v < 8; ++v) {
        luma[u][v] = transposed_luma ? luma_table[v][u] : luma_table[u][v];
        chroma[u][v] = chroma_entry(int(u), int(v));
      }
  }
};

using Matrix = std::array<std::array<float, 3>, 3>;
inline constexpr Matrix to_ycc{{{0.299f, 0.587f, 0.114f}, {-0.168736f, -0.331264f, 0.5f}, {0.5f, -0.418688f, -0.081312f}}};
inline constexpr Matrix to_rgb{{{1, 0, 1.402f}, {1, -0.344136f, -0.714136f}, {1, 1.772f, 0}}};
constexpr Matrix transposed(const Matrix& m) {
  Matrix t{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) t[i][j] = m[j][i];
  return t;
}
inline constexpr Matrix to_ycc_transposed = transposed(to_ycc), to_rgb_transposed = transposed(to_rgb);

// cos(k pi / 16)
inline constexpr float c1 = 0.98078528040323044913f, c2 = 0.92387953251128675613f, c3 = 0.83146961230254523708f,
                       c4 = 0.70710678118654752440f, c5 = 0.55557023301960222474f, c6 = 0.38268343236508977173f,
                       c7 = 0.19509032201612826785f;

// Sums over the eight elements x[0], x[stride], ... times cos((2 i + 1) u pi / 16), u = 0 .. 7, without normalisation.
template <class T> RELUME_HD inline void cosine_sums(T* x, int stride) {
  const auto at = [&](int i) -> T& { return x[i * stride]; };
  const T s0 = at(0) + at(7), s1 = at(1) + at(6), s2 = at(2) + at(5), s3 = at(3) + at(4);
  const T d0 = at(0) - at(7), d1 = at(1) - at(6), d2 = at(2) - at(5), d3 = at(3) - at(4);
  const T outer = s0 + s3, inner = s1 + s2, a = s0 - s3, b = s1 - s2;
  at(0) = outer + inner;
  at(4) = (outer - inner) * c4;
  at(2) = a * c2 + b * c6;
  at(6) = a * c6 - b * c2;
  at(1) = d0 * c1 + d1 * c3 + d2 * c5 + d3 * c7;
  at(3) = d0 * c3 - d1 * c7 - d2 * c1 - d3 * c5;
  at(5) = d0 * c5 - d1 * c1 + d2 * c7 + d3 * c3;
  at(7) = d0 * c7 - d1 * c5 + d2 * c3 - d3 * c1;
}

// The transpose of cosine_sums().
template <class T> RELUME_HD inline void cosine_series(T* x, int stride) {
  const auto at = [&](int i) -> T& { return x[i * stride]; };
  const T p = at(0) + at(4) * c4, q = at(0) - at(4) * c4;
  const T r = at(2) * c2 + at(6) * c6, t = at(2) * c6 - at(6) * c2;
  const T e0 = p + r, e1 = q + t, e2 = q - t, e3 = p - r;
  const T o0 = at(1) * c1 + at(3) * c3 + at(5) * c5 + at(7) * c7;
  const T o1 = at(1) * c3 - at(3) * c7 - at(5) * c1 - at(7) * c5;
  const T o2 = at(1) * c5 - at(3) * c1 + at(5) * c7 + at(7) * c3;
  const T o3 = at(1) * c7 - at(3) * c5 + at(5) * c3 - at(7) * c1;
  at(0) = e0 + o0, at(7) = e0 - o0;
  at(1) = e1 + o1, at(6) = e1 - o1;
  at(2) = e2 + o2, at(5) = e2 - o2;
  at(3) = e3 + o3, at(4) = e3 - o3;
}

// Normalisation of both directions: alpha(u) alpha(v) / 4, alpha(0) = 1 / sqrt(2).
constexpr float normal(int u, int v) { return u > 0 && v > 0 ? 0.25f : u == 0 && v == 0 ? 0.125f : 0.25f * c4; }

}  // namespace relume::jpeg
