// Restoring pictures with a network of stage one, and with stage two behind it (spec/diffbir.md 5.1, 5.2).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "data/picture.h"
#include "data/picture_jobs.h"
#include "infer/face_run.h"
#include "infer/plan.h"
#include "infer/refine_run.h"
#include "layers/precision.h"
#include "models/swinir.h"

namespace relume {

// picture u8 or f32 [H, W, 3] to the restored one, f32 [H*s, W*s, 3], about [0, 1], not clamped; s is network.output_scale().
// The picture is padded with zeros on the right and bottom to network.padding_multiple() and the result cropped (spec 5.2).
Tensor restore_picture(const SwinIR& network, const Tensor& picture);

// A picture u8 or f32 [H, W, 3] before stage one: where it has another size, bicubic in Pillow's arithmetic (spec 5.1; of 16
// bit the same without rounding to 8).
Tensor resized_first(const Tensor& picture, int64_t height, int64_t width);

// Stage one of a picture as its plan has it, whole or in tiles (spec 5.2), on the picture resized to plan.height x plan.width:
// f32 [H, W, 3], about [0, 1], not clamped.
Tensor cleaned_picture(const Cleaner& cleaner, const Picture& picture, const PicturePlan& plan,
                       const TileProgress& progress = {});

// What becomes of restored pixels f32 [H, W, 3]: antialiased bicubic to the result's size (5.3 step 8; as they are where the
// size is right), with what else the picture's file carries. Alpha is enlarged bicubically; the colour profile is kept; a grey
// picture becomes grey again (BT.601 luma of the result). Pixels are truncated to 8 bit, or to 16 bit where the picture has 16
// and `sixteen_bit` is set.
Picture finished_picture(Tensor pixels, const Picture& picture, const PicturePlan& plan, bool sixteen_bit);

struct RestoreOptions {
  std::filesystem::path input;   // a picture, or a folder of pictures (with its sub-folders)
  std::filesystem::path output;  // a file name; for a folder, or when it is an existing folder, the folder results go to
  // Of stage one. No weights: those in the file of stage two's prior; `without_cleaner`: pictures are taken as they are.
  std::filesystem::path weights;
  std::optional<SwinIRConfig> config;  // of a SwinIR; none: the weights tell
  bool without_cleaner = false;
  std::string weights_remark;             // the plan says it behind the name of the weights
  std::optional<StageTwoRun> stage_two;   // none: stage one alone
  std::optional<FaceOptions> faces;       // restored apart; with stage two alone
  Existing existing = Existing::refused;  // kept: results that can be read and have the size they would get
  double upscale = 0;                     // as PlanOptions has it
  int64_t short_side = -1;  // as CleanOptions has it; -1: 512 for stage two, and where `upscale` is given and the network is
                            // a published stage one (an unshuffle by 8 in front), else 0
  TileMode mode = TileMode::automatic;
  int64_t tile = 0, overlap = -1;  // as PlanOptions has them
  Device device = {};              // where the network computes
  Precision precision = {};        // and how; all but f32 on a GPU alone
  int64_t memory = 0;              // bytes that the process may hold, on a GPU those of its memory; 0: three quarters of what
                                   // it can have
  bool dry_run = false;            // the plan alone
  std::filesystem::path json_log;  // an object per picture; empty: none
};

struct RestoreCounts {
  int64_t restored = 0, kept = 0;
};

// Restores one picture or a folder, whose structure is kept; results of a folder are PNG. First the plan goes to standard
// error; with `dry_run` what it says of each picture goes to standard output, and that is all. Results have what the picture
// has: alpha, 16 bit, grey, colour profile. A name whose format holds no 16 bit gets 8; one whose format cannot hold the alpha
// or the grey profile is an InputError before the picture is computed. A picture that cannot be read, or needs more memory than
// allowed, is reported and left out; then, after the others, InputError. Where memory runs out all the same, the picture is
// tried again in smaller tiles, up to three times, unless the mode is `off`.
RestoreCounts restore_files(const RestoreOptions& options);

}  // namespace relume
