#include "infer/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rounding.h"
#include "base/text.h"

namespace relume {
namespace {

constexpr int64_t max_side = std::numeric_limits<int32_t>::max();
constexpr int64_t refine_multiple = 64;          // of pictures and tiles that stage two denoises (spec 5.3)
constexpr int64_t smallest_denoiser_tile = 512;  // what its networks were trained on

int64_t tiles_along(int64_t length, int64_t tile, int64_t stride) { return 1 + (length - tile + stride - 1) / stride; }

// The sides of a picture whose short one is enlarged to `short_side` (resize_short_side).
std::pair<int64_t, int64_t> enlarged(int64_t height, int64_t width, int64_t short_side) {
  const int64_t least = std::min(height, width);
  if (least >= short_side) return {height, width};
  const double ratio = double(short_side) / double(least);
  const auto side = [&](int64_t length) { return length == least ? short_side : int64_t(double(length) * ratio); };
  return {side(height), side(width)};
}

// The sides of what stage one is run on, and of what it makes of a picture, before it gets its size.
std::pair<int64_t, int64_t> run_sides(const PicturePlan& p) {
  return p.tile > 0 ? std::pair(p.height, p.width) : enlarged(p.height, p.width, p.short_side);
}
std::pair<int64_t, int64_t> cleaned_sides(const PicturePlan& p, const Cleaner& cleaner) {
  if (p.enlarged_by_network) return enlarged(p.result_height, p.result_width, p.short_side);
  const auto [height, width] = run_sides(p);
  return enlarged(height * cleaner.scale, width * cleaner.scale, p.short_side);
}

// Bytes on a GPU while a picture is restored: the network alone is there.
double estimated_gpu_bytes(const PicturePlan& p, const Cleaner& cleaner, const NetworkCost& cost) {
  const double bytes = double(cost.weight_bytes) + cost.bytes(double(p.run_pixels));
  return double(cost.kept_bytes) + double(allocator(cleaner.device).most_held(int64_t(bytes)));
}

// Bytes of the process while a picture is restored on the CPU. Counted are the decoded picture, what it is resized to, the map
// or the accumulator of the tiles, the network, and what comes after: the steps of restore_picture().
double estimated_bytes(const PicturePlan& p, const Cleaner& cleaner, const NetworkCost& cost) {
  constexpr double colour = 3 * sizeof(float);
  const auto [run_height, run_width] = run_sides(p);
  const auto [clean_height, clean_width] = enlarged(run_height * cleaner.scale, run_width * cleaner.scale, p.short_side);
  const double scale = double(cleaner.scale * cleaner.scale), depth = p.picture.sixteen_bit ? colour : 3;
  const double work = double(p.height) * double(p.width), run = double(run_height) * double(run_width),
               cleaned = double(clean_height) * double(clean_width), result = double(p.result_height) * double(p.result_width),
               one = double(p.run_pixels);
  const bool resized_first = p.height != p.picture.height || p.width != p.picture.width;
  const double kept = double(p.picture.bytes()) + (resized_first ? depth * work : 0);
  const double network = std::max(cost.bytes(one), 2 * colour * scale * one);
  const double stage = p.tile > 0 ? colour * scale * run + depth * one + network : colour * run + network;
  const double finish = colour * cleaned + (cleaned != run * scale ? colour * scale * run : 0) +
                        (result != cleaned ? 2 * colour * result : 0) + (p.picture.grey ? colour * result : 0) +
                        (depth + (p.picture.alpha ? 2 * sizeof(float) : 0)) * result;
  const double tensors = double(cost.weight_bytes) + kept + std::max(stage, finish);
  // The written file, as large as it may be, comes on top of what the pool keeps; after tiles the pool is emptied first.
  const double file = p.tile > 0 ? 0 : (p.picture.sixteen_bit ? 6 : 3) * result;
  return double(cost.process_bytes + cost.kept_bytes) + double(allocator({}).most_held(int64_t(tensors))) + file;
}

// The same while stage two works on it: on a GPU its networks alone are there, and the graphs of both stages keep what they
// work in.
double estimated_refine_bytes(const PicturePlan& p, const Cleaner& cleaner, const NetworkCost& cost, const RefineCost& refine) {
  constexpr double colour = 3 * sizeof(float);
  const auto [height, width] = cleaned_sides(p, cleaner);
  const double pixels = double(round_up(height, refine_multiple)) * double(round_up(width, refine_multiple));
  const double denoised = p.denoiser.size > 0 ? double(p.denoiser.size) * double(p.denoiser.size) : pixels;
  const double denoiser = refine.denoiser_bytes(denoised), autoencoder = refine.autoencoder_bytes(pixels);
  const double pictures = double(p.picture.bytes()) + 4 * colour * pixels;  // cleaned, padded, decoded, and its colours
  const bool on_cpu = cleaner.device == Device{};
  const double work =
      on_cpu ? std::max(denoiser, autoencoder) + pictures : cost.bytes(double(p.run_pixels)) + denoiser + autoencoder;
  const double tensors = double(cost.weight_bytes) + work;
  return double(cost.kept_bytes + (on_cpu ? cost.process_bytes : 0)) +
         double(allocator(cleaner.device).most_held(int64_t(tensors)));
}

void set_tile(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, int64_t tile) {
  p.tile = tile;
  p.overlap = tile == 0 ? 0 : o.overlap >= 0 ? o.overlap : default_overlap(o.mode, tile, cleaner.multiple);
  p.tiles = 1;
  if (tile == 0) {
    const auto [height, width] = enlarged(p.height, p.width, p.short_side);
    p.run_pixels = padded_side(cleaner, height) * padded_side(cleaner, width);
  } else {
    p.tiles = tiles_along(p.height, tile, tile - p.overlap) * tiles_along(p.width, tile, tile - p.overlap);
    p.run_pixels = tile * tile;
  }
}

void estimate(PicturePlan& p, const Cleaner& cleaner, const NetworkCost* cost) {
  if (!cost) return;
  p.bytes = cleaner.device == Device{} ? estimated_bytes(p, cleaner, *cost) : estimated_gpu_bytes(p, cleaner, *cost);
  p.seconds = p.network_pixels() * cost->seconds_per_pixel +
              double(p.result_height) * double(p.result_width) * cost->write_seconds_per_pixel;
}

void use_tile(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost, int64_t tile) {
  set_tile(p, cleaner, o, tile);
  estimate(p, cleaner, cost);
}

// The largest tile below `limit` that fits the picture, the overlap and the network; 0 where there is none.
int64_t largest_tile(const PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, int64_t limit) {
  const int64_t side = std::min({p.height, p.width, limit});
  const int64_t tile =
      cleaner.only_side > 0 ? (side >= cleaner.only_side ? cleaner.only_side : 0) : side / cleaner.multiple * cleaner.multiple;
  return tile > o.overlap ? tile : 0;
}

// As many tiles as now, of the smallest size that covers the picture: the same number of pixels is not computed twice for
// nothing.
void shrink_tile(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost) {
  const PicturePlan given = p;
  for (int64_t tile = given.tile; (tile = largest_tile(given, cleaner, o, tile - 1)) > 0;) {
    PicturePlan smaller = given;
    set_tile(smaller, cleaner, o, tile);
    if (smaller.tiles > given.tiles) break;
    p = smaller;
  }
  estimate(p, cleaner, cost);
}

// Whole if that fits, else the largest tile that does.
void fit(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost) {
  use_tile(p, cleaner, o, cost, 0);
  const auto fits = [&] { return !cost || p.bytes <= double(o.budget); };
  const bool takes_it = cleaner.only_side == 0 || p.run_pixels == cleaner.only_side * cleaner.only_side;
  if (fits() && takes_it) return;
  for (int64_t tile = largest_tile(p, cleaner, o, max_side); tile > 0; tile = largest_tile(p, cleaner, o, tile - 1)) {
    use_tile(p, cleaner, o, cost, tile);
    if (fits()) return shrink_tile(p, cleaner, o, cost);
  }
}

// The denoiser's tiles, and what the picture takes with them.
void set_denoiser(PicturePlan& p, const Cleaner& cleaner, const NetworkCost* cost, const RefineCost* refine,
                  const DenoiserTiles& tiles) {
  const auto [height, width] = cleaned_sides(p, cleaner);
  p.denoiser = std::min(height, width) >= tiles.size ? tiles : DenoiserTiles();
  if (cost && refine) p.bytes = std::max(p.bytes, estimated_refine_bytes(p, cleaner, *cost, *refine));
}

// Of our own choice a tile overlaps its neighbours by a quarter.
DenoiserTiles chosen_tiles(int64_t size) { return {size, round_up(size * 3 / 4, refine_multiple / 8)}; }

void plan_denoiser(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost,
                   const RefineCost* refine) {
  const double stage_one = p.bytes;
  const auto use = [&](const DenoiserTiles& tiles) {
    p.bytes = stage_one;
    set_denoiser(p, cleaner, cost, refine, tiles);
    return !cost || !refine || p.bytes <= double(o.budget);
  };
  if (o.denoiser.size > 0) return void(use(o.denoiser));
  if (o.mode == TileMode::fixed && !o.denoiser_is_whole) return void(use({o.tile, o.tile / 2}));
  if (use({}) || o.mode != TileMode::automatic || o.denoiser_is_whole) return;
  const auto [height, width] = cleaned_sides(p, cleaner);
  const int64_t largest = (std::min(height, width) - 1) / refine_multiple * refine_multiple;
  for (int64_t size = largest; size >= smallest_denoiser_tile; size -= refine_multiple)
    if (use(chosen_tiles(size))) return;
}

std::string over_budget(const PicturePlan& p, const PlanOptions& o) {
  const std::string needs = fmt::format("needs about {} of memory {}, more than the {} allowed", human_bytes(p.bytes),
                                        p.tile > 0 || p.denoiser.size > 0
                                            ? fmt::format("even in tiles of {} pixels", std::max(p.tile, p.denoiser.size))
                                            : "whole",
                                        human_bytes(double(o.budget)));
  if (o.mode == TileMode::off) return needs + "; leave out --tile off, or allow more with --memory";
  if (o.mode == TileMode::fixed) return needs + "; give a smaller --tile or --tile auto, or allow more with --memory";
  return needs + "; allow more with --memory, close other programs, or give a smaller picture" +
         (o.upscale > 1 ? " or --upscale" : "");
}

}  // namespace

CleanOptions PicturePlan::clean_options() const {
  CleanOptions o{.short_side = short_side, .tile = tile, .tile_stride = tile - overlap};
  if (enlarged_by_network) o.height = result_height, o.width = result_width;
  return o;
}

void check_plan_options(const Cleaner& cleaner, const PlanOptions& o) {
  RELUME_CHECK(o.upscale == 0 || (std::isfinite(o.upscale) && o.upscale >= 1), "--upscale ", o.upscale,
               ": expected a number of 1 or more");
  RELUME_CHECK(o.short_side >= 0, "--short-edge ", o.short_side, ": expected 0 (pictures as they are) or a number of pixels");
  RELUME_CHECK(o.mode != TileMode::off || o.overlap < 0, "--tile-overlap says nothing with --tile off; leave one of them out");
  if (o.mode != TileMode::fixed) return;
  RELUME_CHECK(o.tile > 0 && o.tile % cleaner.multiple == 0, "--tile ", o.tile, ": this network takes multiples of ",
               cleaner.multiple, "; the nearest is ",
               std::max(cleaner.multiple, (o.tile + cleaner.multiple / 2) / cleaner.multiple * cleaner.multiple));
  RELUME_CHECK(!o.refined || o.denoiser_is_whole || o.tile % refine_multiple == 0, "--tile ", o.tile,
               ": stage two's denoiser takes multiples of ", refine_multiple);
  RELUME_CHECK(cleaner.only_side == 0 || o.tile == cleaner.only_side, "--tile ", o.tile, ": this network takes nothing but ",
               cleaner.only_side, ", which its position embedding is made for");
  RELUME_CHECK(o.overlap < o.tile, "--tile-overlap ", o.overlap, ": expected less than the tile of ", o.tile);
}

int64_t default_overlap(TileMode mode, int64_t tile, int64_t multiple) {
  if (mode == TileMode::fixed) return tile / 2;
  return std::min(tile / 2, std::max(2 * multiple, round_up(tile / 8, multiple)));
}

PicturePlan plan_picture(const PictureHeader& picture, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost,
                         const RefineCost* refine) {
  check_plan_options(cleaner, o);
  PicturePlan p{.picture = picture, .height = picture.height, .width = picture.width, .short_side = o.short_side};
  const auto times = [&](int64_t side) {
    const double result = o.upscale > 0 ? double(side) * o.upscale : double(side * cleaner.scale);
    RELUME_CHECK(result <= double(max_side), "--upscale ", o.upscale, ": ", picture.width, "x", picture.height,
                 " pixels become more than a picture can have");
    return int64_t(result);
  };
  p.result_height = times(picture.height), p.result_width = times(picture.width);
  // A network that enlarges by itself is given the picture as it is (spec 5.1, the rows of sr).
  if (cleaner.scale == 1) p.height = p.result_height, p.width = p.result_width;
  p.enlarged_by_network = cleaner.scale != 1;
  const bool tiled = o.mode == TileMode::fixed && p.height >= o.tile && p.width >= o.tile;
  if (o.mode == TileMode::automatic)
    fit(p, cleaner, o, cost);
  else
    use_tile(p, cleaner, o, cost, tiled ? o.tile : 0);
  if (o.refined) plan_denoiser(p, cleaner, o, cost, refine);
  if (cost && p.bytes > double(o.budget)) p.problem = over_budget(p, o);
  if (cleaner.only_side > 0 && p.run_pixels != cleaner.only_side * cleaner.only_side)
    p.problem = fmt::format(
        "{}x{} pixels, and this network takes squares of {} alone (its position embedding): smaller pictures "
        "are padded and larger ones tiled, but this one has a side of either kind; crop it or enlarge it",
        p.width, p.height, cleaner.only_side);
  return p;
}

bool make_smaller(PicturePlan& p, const Cleaner& cleaner, const PlanOptions& o, const NetworkCost* cost) {
  const int64_t side = p.tile > 0 ? p.tile : int64_t(std::sqrt(double(p.run_pixels)));
  const int64_t tile = largest_tile(p, cleaner, o, std::min(side - 1, std::max(cleaner.multiple, side * 3 / 4)));
  if (tile == 0) return false;
  use_tile(p, cleaner, o, cost, tile);
  return true;
}

bool make_denoiser_smaller(PicturePlan& p, const Cleaner& cleaner) {
  const auto [height, width] = cleaned_sides(p, cleaner);
  const int64_t side = p.denoiser.size > 0 ? p.denoiser.size : std::min(height, width);
  const int64_t size = std::min(side - 1, side * 3 / 4) / refine_multiple * refine_multiple;
  if (size < refine_multiple) return false;
  p.denoiser = chosen_tiles(size);
  return true;
}

std::string describe_tiles(const PicturePlan& p) {
  const std::string whole =
      p.tile == 0 ? "whole"
                  : fmt::format("{} {} of {}, overlapping by {}", p.tiles, p.tiles == 1 ? "tile" : "tiles", p.tile, p.overlap);
  if (p.denoiser.size == 0) return whole;
  return whole + fmt::format("; denoised in tiles of {} every {}", p.denoiser.size, p.denoiser.stride);
}

}  // namespace relume
