#include "infer/tiling.h"

#include <cmath>
#include <cstring>
#include <numbers>

#include "base/interrupt.h"

namespace relume {
namespace {

constexpr double variance = 0.01;  // of the Gaussian weights, the tile's side being 1

// One factor of gaussian_weights(): the weights along an axis of a tile around `middle`.
std::vector<double> gaussian_axis(int64_t length, double middle) {
  std::vector<double> weights;
  for (int64_t i = 0; i < length; ++i) {
    const double distance = (double(i) - middle) / double(length);
    weights.push_back(std::exp(-distance * distance / (2 * variance)) / std::sqrt(2 * std::numbers::pi * variance));
  }
  return weights;
}
std::vector<double> gaussian_rows(int64_t height) { return gaussian_axis(height, double(height) / 2); }
std::vector<double> gaussian_columns(int64_t width) { return gaussian_axis(width, double(width - 1) / 2); }

// What each pixel of each tile counts along one axis of the result: its weight over the sum of the weights that fall there.
// Weights are products of a row's and a column's, and tiles a grid, so sum(w) is the product of two such sums and needs no map.
struct AxisShares {
  std::vector<std::vector<double>> of_tile;
  AxisShares(const std::vector<int64_t>& origins, const std::vector<double>& weights, int64_t length)
      : of_tile(origins.size(), weights) {
    std::vector<double> sums(size_t(length), 0.0);
    for (const int64_t origin : origins)
      for (size_t i = 0; i < weights.size(); ++i) sums[size_t(origin) + i] += weights[i];
    for (size_t tile = 0; tile < origins.size(); ++tile)
      for (size_t i = 0; i < weights.size(); ++i) of_tile[tile][i] /= sums[size_t(origins[tile]) + i];
  }
};

// out [N, H, W, C] += rows[y] * columns[x] * tile[y, x] from (top, left) on.
void add_weighted(const Tensor& out, const Tensor& tile, int64_t top, int64_t left, const std::vector<double>& rows,
                  const std::vector<double>& columns) {
  const int64_t side = tile.shape(1), channels = tile.shape(3);
  for (int64_t n = 0; n < tile.shape(0); ++n)
    for (int64_t y = 0; y < side; ++y) {
      const float* from = tile.data<float>() + (n * side + y) * side * channels;
      float* to = out.data<float>() + ((n * out.shape(1) + top + y) * out.shape(2) + left) * channels;
      for (int64_t x = 0; x < side; ++x) {
        const float weight = float(rows[size_t(y)] * columns[size_t(x)]);
        for (int64_t c = 0; c < channels; ++c) *to++ += weight * *from++;
      }
    }
}

void check_tiling(int64_t height, int64_t width, const Tiling& t) {
  RELUME_CHECK(t.size >= 1 && t.stride >= 1 && t.stride <= t.size, "tiles of ", t.size, " pixels every ", t.stride,
               "; expected a size and a stride of 1 or more, the stride at most the size");
  RELUME_CHECK(t.up >= 1 && t.down >= 1 && (t.up == 1 || t.down == 1), "tiles that grow by ", t.up, " and shrink by ", t.down,
               "; expected one of them to be 1");
  RELUME_CHECK(height >= t.size && width >= t.size, "tiles of ", t.size, " pixels do not fit a map of ", width, "x", height);
  RELUME_CHECK(height % t.down == 0 && width % t.down == 0 && t.size % t.down == 0 && t.stride % t.down == 0, "tiles of ",
               t.size, " pixels every ", t.stride, " on a map of ", width, "x", height, ": expected multiples of ", t.down,
               ", by which results shrink");
}

}  // namespace

std::vector<int64_t> tile_origins(int64_t length, int64_t size, int64_t stride) {
  std::vector<int64_t> origins;
  for (int64_t origin = 0; origin + size < length; origin += stride) origins.push_back(origin);
  origins.push_back(length - size);
  return origins;
}

std::vector<TileWindow> tile_windows(int64_t height, int64_t width, const Tiling& tiling) {
  check_tiling(height, width, tiling);
  std::vector<TileWindow> windows;
  for (const int64_t top : tile_origins(height, tiling.size, tiling.stride))
    for (const int64_t left : tile_origins(width, tiling.size, tiling.stride)) windows.push_back({top, left, tiling.size});
  return windows;
}

Tensor gaussian_weights(int64_t height, int64_t width) {
  const std::vector<double> rows = gaussian_rows(height), columns = gaussian_columns(width);
  const Tensor weights = Tensor::empty({height, width}, DType::f64);
  double* out = weights.data<double>();
  for (const double row : rows)
    for (const double column : columns) *out++ = row * column;
  return weights;
}

Tensor cut_tile(const Tensor& map, const TileWindow& window) {
  RELUME_CHECK(map && map.rank() == 4 && map.device() == Device{} && window.top >= 0 && window.left >= 0 &&
                   window.top + window.size <= map.shape(1) && window.left + window.size <= map.shape(2),
               "cut_tile: a tile of ", window.size, " pixels at (", window.top, ", ", window.left, ") of ", map,
               "; expected a cpu map [N, H, W, C] that holds it");
  const Tensor from = map.contiguous();
  const int64_t pixel = map.shape(3) * size_of(map.dtype()), row = window.size * pixel;
  Tensor tile = Tensor::empty({map.shape(0), window.size, window.size, map.shape(3)}, map.dtype());
  auto* to = static_cast<char*>(tile.raw());
  for (int64_t n = 0; n < map.shape(0); ++n)
    for (int64_t y = 0; y < window.size; ++y, to += row) {
      const int64_t at = (n * map.shape(1) + window.top + y) * map.shape(2) + window.left;
      std::memcpy(to, static_cast<const char*>(from.raw()) + at * pixel, size_t(row));
    }
  return tile;
}

Tensor run_tiled(const Tensor& x, const Tiling& t, const TileFunction& f, const TileProgress& progress) {
  RELUME_CHECK(x && x.rank() == 4, "run_tiled: expects a map [N, H, W, C], got ", x);
  const int64_t height = x.shape(1), width = x.shape(2), side = t.size * t.up / t.down;
  const std::vector<TileWindow> windows = tile_windows(height, width, t);
  const auto scaled = [&](int64_t length) { return length * t.up / t.down; };
  const auto shares = [&](int64_t length, const std::vector<double>& weights) {
    std::vector<int64_t> origins = tile_origins(length, t.size, t.stride);
    for (int64_t& origin : origins) origin = scaled(origin);
    return AxisShares(origins, weights, scaled(length)).of_tile;
  };
  const std::vector<double> even(size_t(side), 1.0);
  const bool gaussian = t.blend == TileBlend::gaussian;
  const auto rows = shares(height, gaussian ? gaussian_rows(side) : even),
             columns = shares(width, gaussian ? gaussian_columns(side) : even);
  const Tensor map = x.contiguous();
  Tensor out;
  for (size_t i = 0; i < windows.size(); ++i) {
    throw_if_interrupted();
    const Tensor tile = f(cut_tile(map, windows[i]), windows[i]).contiguous();
    RELUME_CHECK(tile.rank() == 4 && tile.dtype() == DType::f32 && tile.device() == Device{} && tile.shape(0) == x.shape(0) &&
                     tile.shape(1) == side && tile.shape(2) == side && (!out || tile.shape(3) == out.shape(3)),
                 "run_tiled: a tile became ", tile, ", expected f32 cpu [", x.shape(0), ", ", side, ", ", side, ", C]");
    if (!out) out = Tensor::zeros({x.shape(0), scaled(height), scaled(width), tile.shape(3)});
    add_weighted(out, tile, scaled(windows[i].top), scaled(windows[i].left), rows[i / columns.size()],
                 columns[i % columns.size()]);
    if (progress) progress(int64_t(i + 1), int64_t(windows.size()));
  }
  return out;
}

}  // namespace relume
