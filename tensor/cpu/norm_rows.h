// LayerNorm of single rows, f32: what the norm's own kernels and those that fuse it share.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace relume::cpu {

struct RowStatistics {
  float mean, rstd;
  float correction;  // what `mean` still lacks: rounding errors of a mean far from zero do not reach y
};

// Sums over the columns of the n numbers terms(c) gives, as sixteen running sums each, added in a fixed order: the same bits
// whatever the width of the vectors.
template <int n, class Terms> inline std::array<float, n> lane_sums(int64_t columns, Terms&& terms) {
  constexpr int64_t width = 16;
  float sums[n][width] = {};
  const auto add = [&](int64_t c, int64_t l) __attribute__((always_inline)) {
    const std::array<float, n> values = terms(c);
    for (int k = 0; k < n; ++k) sums[k][l] += values[k];
  };
  int64_t c = 0;
  for (; c + width <= columns; c += width)
#pragma omp simd
    for (int64_t l = 0; l < width; ++l) add(c + l, l);
  for (int64_t l = 0; c + l < columns; ++l) add(c + l, l);
  std::array<float, n> totals;
  for (int k = 0; k < n; ++k) {
    for (int64_t half = width / 2; half > 0; half /= 2)
      for (int64_t l = 0; l < half; ++l) sums[k][l] += sums[k][l + half];
    totals[k] = sums[k][0];
  }
  return totals;
}

// Two passes over a row that stays in the first-level cache.
inline RowStatistics row_statistics(const float* x, int64_t columns, float eps) {
  const float mean = lane_sums<1>(columns, [&](int64_t c) { return std::array{x[c]}; })[0] / float(columns);
  const auto [first, second] = lane_sums<2>(columns, [&](int64_t c) {
    const float d = x[c] - mean;
    return std::array{d, d * d};
  });
  const float correction = first / float(columns);
  const float variance = std::max(0.0f, second / float(columns) - correction * correction);
  return {mean, 1 / std::sqrt(variance + eps), correction};
}

// to = (x - mean) rstd weight + bias
inline void normalise_row(float* to, const float* x, const float* weight, const float* bias, const RowStatistics& s,
                          int64_t columns) {
  const float offset = -s.correction * s.rstd;
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) to[c] = std::fma(std::fma(x[c] - s.mean, s.rstd, offset), weight[c], bias[c]);
}

// dx of one row, plus `add` where it is not null: rstd (g - mean(g) - xhat mean(g xhat)) with g = dy weight. dx may be dy or
// add.
inline void normalise_row_backward(float* dx, const float* dy, const float* x, const float* weight, float mean, float rstd,
                                   int64_t columns, const float* add) {
  const auto [sum_g, sum_gx] = lane_sums<2>(columns, [&](int64_t c) {
    const float g = dy[c] * weight[c];
    return std::array{g, g * (x[c] - mean)};
  });
  // dx = rstd g + slope (x - mean) + level
  const float level = -rstd * sum_g / float(columns), slope = -rstd * rstd * rstd * sum_gx / float(columns);
  const auto gradient = [&](int64_t c) __attribute__((always_inline)) {
    return std::fma(rstd * dy[c], weight[c], std::fma(slope, x[c] - mean, level));
  };
  if (add) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) dx[c] = gradient(c) + add[c];
  } else {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) dx[c] = gradient(c);
  }
}

// Adds one row's share of dweight and dbias.
inline void normalise_row_parameters(float* dweight, float* dbias, const float* dy, const float* x, float mean, float rstd,
                                     int64_t columns) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    dweight[c] += dy[c] * ((x[c] - mean) * rstd);
    dbias[c] += dy[c];
  }
}

}  // namespace relume::cpu
