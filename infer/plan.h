// How a picture is restored before it is: sizes, tiles, and what it will take in memory and time.
#pragma once

#include <string>

#include "data/codec.h"
#include "infer/cost.h"
#include "infer/refine_cost.h"

namespace relume {

enum class TileMode { automatic, off, fixed };

struct PlanOptions {
  double upscale = 0;      // results are int(side * upscale) pixels; 0: as large as the network makes them. InputError below 1
  int64_t short_side = 0;  // as CleanOptions has it
  TileMode mode = TileMode::automatic;
  int64_t tile = 0;      // of TileMode::fixed
  int64_t overlap = -1;  // of neighbouring tiles, in pixels; -1: default_overlap()
  int64_t budget = 0;    // bytes that the process may hold, on a GPU those of its memory
  bool refined = false;            // stage two follows
  DenoiserTiles denoiser = {};     // asked for beside the mode; size 0: the mode decides
  bool denoiser_is_whole = false;  // whatever the mode says
};

// Throws InputError, named by the command's options, for what makes no sense whatever the picture.
void check_plan_options(const Cleaner& cleaner, const PlanOptions& options);

// Neighbouring tiles' overlap where none is asked for. Tiles of a size given by hand: half of it, as published. Tiles of our
// own choice: two of the network's multiples (windows of attention), or an eighth of a large tile, at most half.
int64_t default_overlap(TileMode mode, int64_t tile, int64_t multiple);

struct PicturePlan {
  PictureHeader picture;
  int64_t height = 0, width = 0;                // what stage one is given: the picture, or the picture resized first
  int64_t result_height = 0, result_width = 0;  // what is written
  int64_t short_side = 0;
  int64_t tile = 0, overlap = 0;  // 0: whole
  int64_t tiles = 1;
  DenoiserTiles denoiser = {};
  bool enlarged_by_network = false;  // its result is resized to result_height x result_width at once
  int64_t run_pixels = 0;            // of one run of the network: of a tile, or of the padded picture
  double bytes = 0, seconds = 0;     // of the process or its GPU, and of this picture, estimated; 0 where nothing was measured
  std::string problem;               // why it cannot be done: an error's message; empty when it can

  double network_pixels() const { return double(tiles) * double(run_pixels); }
  CleanOptions clean_options() const;
};

// The plan of one picture. Without `cost` nothing is estimated, and `automatic` takes the picture whole. With it, `automatic`
// takes the picture whole where that fits the budget, else in the largest tiles that fit, made smaller as far as their number
// allows; what fits in no way is a `problem`. Where stage two follows, its denoiser's tiles are chosen by the same rules behind
// those of stage one, and `refine` says what it takes; networks trained on 512 pixels get no smaller tiles unless asked to. The
// autoencoder needs none. Throws what check_plan_options() throws, and InputError for a result beyond all sizes.
PicturePlan plan_picture(const PictureHeader& picture, const Cleaner& cleaner, const PlanOptions& options,
                         const NetworkCost* cost, const RefineCost* refine = nullptr);

// The plan with the next smaller tile, about half the pixels in one run; false where there is none.
bool make_smaller(PicturePlan& plan, const Cleaner& cleaner, const PlanOptions& options, const NetworkCost* cost);
// The same of the denoiser's tiles.
bool make_denoiser_smaller(PicturePlan& plan, const Cleaner& cleaner);

// "whole" or "16 tiles of 512, overlapping by 128"; where they differ, "; denoised in tiles of 512 every 384" behind it.
std::string describe_tiles(const PicturePlan& plan);

}  // namespace relume
