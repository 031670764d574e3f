// Stage one applied to a picture: what is resized and padded around the network, whole or in tiles (spec/diffbir.md 5.2).
#pragma once

#include <algorithm>

#include "base/rounding.h"
#include "infer/tiling.h"
#include "models/rrdbnet.h"
#include "models/scunet.h"
#include "models/swinir.h"

namespace relume {

// A network of stage one as the pipeline sees it: f32 [N, H, W, 3] in [0, 1], H and W multiples of `multiple`, to
// [N, H * scale, W * scale, 3], not clamped; both on the CPU, wherever it computes. It refers to the network that it was made
// from, which must live as long and stay as it is. On a GPU it is for one thread, and keeps the memory it worked in while one
// shape comes again and again (kernels::repeated).
struct Cleaner {
  std::function<Tensor(const Tensor&)> network;
  int64_t multiple = 1, scale = 1;
  int64_t only_side = 0;       // the one side that a network with a position embedding takes; 0: every multiple
  Device device = {};          // where it computes
  bool enlarge_after = false;  // a small picture is enlarged when it is clean, not before
};
Cleaner cleaner_of(const SwinIR& network);
// With the type it computes in: f32, bf16 or f16.
Cleaner cleaner_of(const RRDBNet& network, DType compute = DType::f32);
Cleaner cleaner_of(const SCUNet& network, DType compute = DType::f32);

struct CleanOptions {
  // What a network that enlarges is asked for: its result is resized to this when the short side of this is short_side or more,
  // else until its own short side is short_side. 0: the result keeps its size, but for a short side below short_side.
  int64_t height = 0, width = 0;
  int64_t short_side = 0;  // what a shorter side is enlarged to, by antialiased bicubic; 0: pictures are taken as they are
  int64_t tile = 0, tile_stride = 0;  // side of a tile, a multiple of cleaner.multiple, and from tile to tile; 0: whole
  TileProgress progress = {};         // of the tiles
};

// What a side of a picture is padded to when it is taken whole.
inline int64_t padded_side(const Cleaner& cleaner, int64_t side) {
  return std::max(cleaner.only_side, round_up(side, cleaner.multiple));
}

// Whether tiles of this side are used on a picture: where a side is below it, the picture is taken whole.
inline bool is_tiled(const CleanOptions& o, int64_t height, int64_t width) {
  return o.tile > 0 && height >= o.tile && width >= o.tile;
}

// lq u8 or f32 [H, W, 3] or [N, H, W, 3] to the cleaned picture, f32 of as many axes, about [0, 1], not clamped. Whole: a side
// below short_side is enlarged first (see enlarge_after), zeros are padded on the right and bottom to cleaner.multiple, and the
// result is cropped. Tiled: tiles are taken as they are, and the result's short side is enlarged where it is below short_side.
// Nothing is recorded for gradients.
Tensor clean(const Cleaner& cleaner, const Tensor& lq, const CleanOptions& options = {});

}  // namespace relume
