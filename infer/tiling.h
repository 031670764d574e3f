// A function of a feature map computed tile by tile, for maps that do not fit the memory whole (spec/diffbir.md 5.8). Knows no
// network: the function may be a cleaner, or later the diffusion model on latents.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

enum class TileBlend {
  gaussian,  // the middle of a tile counts most, its border next to nothing
  uniform,   // every pixel of a tile counts the same
};

struct Tiling {
  int64_t size = 0, stride = 0;  // side of a tile, and from tile to tile, in pixels of the map; 1 <= stride <= size
  int64_t up = 1, down = 1;      // the function's result is `up` times as large as its tile, or 1 / `down`; one of them is 1
  TileBlend blend = TileBlend::gaussian;
};

struct TileWindow {
  int64_t top = 0, left = 0, size = 0;  // in pixels of the map
};

// Where tiles begin along an axis of `length` >= size pixels: 0, stride, 2 * stride, ... and one that ends with the axis.
std::vector<int64_t> tile_origins(int64_t length, int64_t size, int64_t stride);

// The tiles of a map, row by row from the top. InputError when the tiling does not fit the map or itself.
std::vector<TileWindow> tile_windows(int64_t height, int64_t width, const Tiling& tiling);

// Weights of the pixels of a tile, f64 [height, width]:
//   exp(-(x - (width - 1) / 2)^2 / (0.02 width^2)) exp(-(y - height / 2)^2 / (0.02 height^2)) / (0.02 pi)
// The published form: its middle lies half a pixel lower than that of the tile.
Tensor gaussian_weights(int64_t height, int64_t width);

// The part of a map [N, H, W, C] inside a window, dense, of the map's type; what a function of several maps cuts the others
// with.
Tensor cut_tile(const Tensor& map, const TileWindow& window);

// f of one tile [N, size, size, C]; gives f32 cpu [N, size * up / down, size * up / down, C'].
using TileFunction = std::function<Tensor(const Tensor& tile, const TileWindow& window)>;
using TileProgress = std::function<void(int64_t done, int64_t of)>;  // hears of every tile; may throw to end the work

// x [N, H, W, C] of any type, H and W at least tiling.size, to sum(w * f(tile)) / sum(w), f32 [N, H * up / down, W * up / down,
// C']. Tiles are computed one after another in the order of tile_windows(); beside the tile under way only the result is held.
// With down > 1, sides, size and stride are multiples of it.
Tensor run_tiled(const Tensor& x, const Tiling& tiling, const TileFunction& f, const TileProgress& progress = {});

}  // namespace relume
