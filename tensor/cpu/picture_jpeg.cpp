// The simulated JPEG on squares of 16 x 16 pixels (one 4:2:0 unit), sixteen squares side by side in the lanes of vectors:
// colour conversion, cosine transforms and quantisation then have no traffic between lanes, and a square stays in the
// first-level cache.
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/parallel.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/simulated_jpeg.h"

namespace relume::cpu {
namespace {

using namespace jpeg;
using kernels::SimulatedJpegOptions;

constexpr int lanes = 16;
using Lanes [[gnu::vector_size(lanes * sizeof(float))]] = float;  // one number of each square
using Block = Lanes[8][8];

// Quantisation steps of one sample, [vertical][horizontal frequency].
struct Steps {
  float luma[8][8], chroma[8][8];
  bool none;  // quality 100: the factor is zero, and nothing is rounded
  Steps(float quality, const Tables& tables) {
    const float factor = kernels::simulated_jpeg_factor(quality);
    none = factor == 0;
    for (size_t u = 0; u < 8; ++u)
      for (size_t v = 0; v < 8; ++v) luma[u][v] = factor * tables.luma[u][v], chroma[u][v] = factor * tables.chroma[u][v];
  }
};

void forward_dct(Block& b) {
  for (int i = 0; i < 8; ++i) cosine_sums(b[i], 1);
  for (int i = 0; i < 8; ++i) cosine_sums(b[0] + i, 8);
  for (int u = 0; u < 8; ++u)
    for (int v = 0; v < 8; ++v) b[u][v] *= normal(u, v);
}
void inverse_dct(Block& b) {
  for (int u = 0; u < 8; ++u)
    for (int v = 0; v < 8; ++v) b[u][v] *= normal(u, v);
  for (int i = 0; i < 8; ++i) cosine_series(b[0] + i, 8);
  for (int i = 0; i < 8; ++i) cosine_series(b[i], 1);
}

// No vector is passed by value: how depends on the instruction set.
inline void round(Lanes& x) {
  for (int l = 0; l < lanes; ++l) x[l] = std::nearbyint(x[l]);
}
inline void clamp(Lanes& x) {
  for (int l = 0; l < lanes; ++l) x[l] = std::min(255.0f, std::max(0.0f, x[l]));
}

// f(coefficient, step) on all of a block.
template <class F> void each_coefficient(Block& b, const float (&steps)[8][8], F&& f) {
  for (int u = 0; u < 8; ++u)
    for (int v = 0; v < 8; ++v) f(b[u][v], steps[u][v]);
}

// Sixteen squares: luma as four blocks in reading order, then cb and cr as averages of 2 x 2 pixels. All are around zero.
struct Squares {
  Block block[6];
  Lanes& luma(int i, int j) { return block[i / 8 * 2 + j / 8][i % 8][j % 8]; }
  Lanes& cb(int i, int j) { return block[4][i / 2][j / 2]; }
  Lanes& cr(int i, int j) { return block[5][i / 2][j / 2]; }
  template <class F> void each_block(const Steps& steps, F&& f) {
    for (int b = 0; b < 6; ++b) f(block[b], b < 4 ? steps.luma : steps.chroma);
  }
};

// How the squares of a picture are counted: in reading order over the picture padded to whole ones.
struct Grid {
  int64_t height, width, rows, columns;
  explicit Grid(const Tensor& x)
      : height(x.shape(1)), width(x.shape(2)), rows((height + side - 1) / side), columns((width + side - 1) / side) {}
  int64_t squares() const { return rows * columns; }
};

// One row of pixels of sixteen squares.
using PixelRow = Lanes[side * 3];

// `row` of the squares first .. first + 15, zeros outside the picture.
void load_row(PixelRow& to, const float* picture, const Grid& grid, int64_t first, int row) {
  float values[side * 3][lanes];
  for (int l = 0; l < lanes; ++l) {
    const int64_t square = first + l, y = square / grid.columns * side + row, x = square % grid.columns * side;
    const bool any = square < grid.squares() && y < grid.height;
    const int64_t inside = any ? std::min<int64_t>(side, grid.width - x) * 3 : 0;
    const float* from = any ? picture + (y * grid.width + x) * 3 : nullptr;
    for (int k = 0; k < side * 3; ++k) values[k][l] = k < inside ? from[k] : 0;
  }
  std::memcpy(&to, values, sizeof to);
}
void store_row(const PixelRow& from, float* picture, const Grid& grid, int64_t first, int row) {
  float values[side * 3][lanes];
  std::memcpy(values, &from, sizeof from);
  for (int l = 0; l < lanes; ++l) {
    const int64_t square = first + l, y = square / grid.columns * side + row, x = square % grid.columns * side;
    if (square >= grid.squares() || y >= grid.height) continue;
    float* to = picture + (y * grid.width + x) * 3;
    const int64_t inside = std::min<int64_t>(side, grid.width - x) * 3;
    for (int64_t k = 0; k < inside; ++k) to[k] = values[k][l];
  }
}

// Squares from pixels through a matrix; `row_of(row, to)` gives the pixels, luma_shift is added to luma, and chroma is
// chroma_scale times the sum over 2 x 2 pixels.
template <const Matrix& m, class RowOf> void gather(Squares& to, float luma_shift, float chroma_scale, RowOf&& row_of) {
  for (int row = 0; row < side; row += 2) {
    PixelRow pixels[2];
    for (int i = 0; i < 2; ++i) row_of(row + i, pixels[i]);
    for (int j = 0; j < side; j += 2) {
      Lanes cb{}, cr{};
      for (int i = 0; i < 2; ++i)
        for (int k = j; k < j + 2; ++k) {
          const Lanes &r = pixels[i][3 * k], &g = pixels[i][3 * k + 1], &b = pixels[i][3 * k + 2];
          to.luma(row + i, k) = r * m[0][0] + g * m[0][1] + b * m[0][2] + luma_shift;
          cb += r * m[1][0] + g * m[1][1] + b * m[1][2];
          cr += r * m[2][0] + g * m[2][1] + b * m[2][2];
        }
      to.cb(row, j) = cb * chroma_scale;
      to.cr(row, j) = cr * chroma_scale;
    }
  }
}

// The pixels of a row of squares through a matrix, chroma repeated.
template <const Matrix& m> void spread(PixelRow& to, Squares& from, int row, float luma_shift, float chroma_scale) {
  for (int j = 0; j < side; ++j) {
    const Lanes y = from.luma(row, j) + luma_shift, cb = from.cb(row, j) * chroma_scale, cr = from.cr(row, j) * chroma_scale;
    for (size_t c = 0; c < 3; ++c) to[size_t(3 * j) + c] = y * m[c][0] + cb * m[c][1] + cr * m[c][2];
  }
}

// The coefficients of the squares from `first` on of a picture.
void transform(Squares& to, const float* picture, const Grid& grid, int64_t first) {
  gather<to_ycc>(to, -128, 0.25f, [&](int row, PixelRow& pixels) {
    load_row(pixels, picture, grid, first, row);
    for (Lanes& value : pixels) {
      value *= 255;
      clamp(value);
    }
  });
  for (Block& b : to.block) forward_dct(b);
}

void quantise(Squares& squares, const Steps& steps, bool differentiable) {
  if (steps.none) return;
  squares.each_block(steps, [&](Block& b, const float(&table)[8][8]) {
    each_coefficient(b, table, [&](Lanes& c, float step) {
      const Lanes v = c / step;
      c = v;
      round(c);
      if (differentiable) c += (v - c) * (v - c) * (v - c);
      c *= step;
    });
  });
}

// The gradient through quantise() with differentiable rounding, whose slope is 3 (v - round(v))^2.
void multiply_by_slope(Squares& gradient, const Squares& coefficients, const Steps& steps) {
  if (steps.none) return;
  Squares slope = coefficients;
  slope.each_block(steps, [](Block& b, const float(&table)[8][8]) {
    each_coefficient(b, table, [](Lanes& c, float step) {
      const Lanes v = c / step;
      c = v;
      round(c);
      c = 3 * (v - c) * (v - c);
    });
  });
  for (int b = 0; b < 6; ++b)
    for (int u = 0; u < 8; ++u)
      for (int v = 0; v < 8; ++v) gradient.block[b][u][v] *= slope.block[b][u][v];
}

// The gradient through clamping: none where the value lies outside 0 .. 255.
void gate(PixelRow& gradient, const PixelRow& value) {
  for (size_t k = 0; k < side * 3; ++k) {
    Lanes inside = value[k];
    clamp(inside);
    gradient[k] = value[k] == inside ? gradient[k] : Lanes{};
  }
}

// Calls f(sample, steps, first square) for all groups of sixteen squares of a batch.
template <class F> void each_group(const Grid& grid, const Tensor& quality, const SimulatedJpegOptions& options, F&& f) {
  const Tables tables(options.transposed_luma_table);
  std::vector<Steps> steps;
  for (int64_t n = 0; n < quality.numel(); ++n) steps.emplace_back(quality.data<float>()[n], tables);
  const int64_t groups = (grid.squares() + lanes - 1) / lanes;
  parallel_for(quality.numel() * groups, 2, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) f(g / groups, steps[size_t(g / groups)], g % groups * lanes);
  });
}

void simulated_jpeg_forward(const Tensor& y, const Tensor& x, const Tensor& quality, const SimulatedJpegOptions& options) {
  const Grid grid(x);
  const int64_t each = grid.height * grid.width * 3;
  each_group(grid, quality, options, [&](int64_t n, const Steps& steps, int64_t first) {
    Squares squares;
    transform(squares, x.data<float>() + n * each, grid, first);
    quantise(squares, steps, options.differentiable);
    for (Block& b : squares.block) inverse_dct(b);
    for (int row = 0; row < side; ++row) {
      PixelRow pixels;
      spread<to_rgb>(pixels, squares, row, 128, 1);
      for (Lanes& value : pixels) {
        clamp(value);
        value /= 255;
      }
      store_row(pixels, y.data<float>() + n * each, grid, first, row);
    }
  });
}

void simulated_jpeg_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& quality,
                             const SimulatedJpegOptions& options) {
  RELUME_BUG(options.differentiable, "simulated_jpeg_backward: plain rounding has no gradient");
  const Grid grid(x);
  const int64_t each = grid.height * grid.width * 3;
  each_group(grid, quality, options, [&](int64_t n, const Steps& steps, int64_t first) {
    Squares coefficients, result, slope;
    transform(coefficients, x.data<float>() + n * each, grid, first);
    result = coefficients;
    quantise(result, steps, true);
    for (Block& b : result.block) inverse_dct(b);
    gather<to_rgb_transposed>(slope, 0, 1, [&](int row, PixelRow& pixels) {
      PixelRow value;
      load_row(pixels, dy.data<float>() + n * each, grid, first, row);
      spread<to_rgb>(value, result, row, 128, 1);
      gate(pixels, value);
      for (Lanes& pixel : pixels) pixel /= 255;
    });
    for (Block& b : slope.block) forward_dct(b);
    multiply_by_slope(slope, coefficients, steps);
    for (Block& b : slope.block) inverse_dct(b);
    for (int row = 0; row < side; ++row) {
      PixelRow pixels, value;
      spread<to_ycc_transposed>(pixels, slope, row, 0, 0.25f);
      load_row(value, x.data<float>() + n * each, grid, first, row);
      for (size_t k = 0; k < side * 3; ++k) pixels[k] *= 255, value[k] *= 255;
      gate(pixels, value);
      store_row(pixels, dx.data<float>() + n * each, grid, first, row);
    }
  });
}

void simulated_jpeg_coefficients(const Tensor& luma, const Tensor& cb, const Tensor& cr, const Tensor& x, const Tensor& quality,
                                 const SimulatedJpegOptions& options) {
  const Grid grid(x);
  each_group(grid, quality, options, [&](int64_t n, const Steps& steps, int64_t first) {
    Squares squares;
    transform(squares, x.data<float>() + n * grid.height * grid.width * 3, grid, first);
    squares.each_block(steps, [&](Block& b, const float(&table)[8][8]) {
      each_coefficient(b, table, [](Lanes& c, float step) {
        c /= step;
        round(c);
      });
    });
    const auto store = [](const Tensor& to, int64_t at, const Block& b, int l) {
      for (int k = 0; k < 64; ++k) to.data<float>()[at * 64 + k] = b[k / 8][k % 8][l];
    };
    for (int l = 0; l < lanes && first + l < grid.squares(); ++l) {
      const int64_t square = first + l, row = square / grid.columns, column = square % grid.columns;
      for (int b = 0; b < 4; ++b)
        store(luma, n * 4 * grid.squares() + (2 * row + b / 2) * 2 * grid.columns + 2 * column + b % 2, squares.block[b], l);
      store(cb, n * grid.squares() + square, squares.block[4], l);
      store(cr, n * grid.squares() + square, squares.block[5], l);
    }
  });
}

}  // namespace

void register_picture_jpeg_kernels() {
  kernels::simulated_jpeg_forward.set(DeviceKind::cpu, simulated_jpeg_forward);
  kernels::simulated_jpeg_backward.set(DeviceKind::cpu, simulated_jpeg_backward);
  kernels::simulated_jpeg_coefficients.set(DeviceKind::cpu, simulated_jpeg_coefficients);
}

}  // namespace relume::cpu
