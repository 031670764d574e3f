// Restoring pictures with a stage-one network (spec/diffbir.md 5.2).
#pragma once

#include <filesystem>

#include "data/picture.h"
#include "models/swinir.h"

namespace relume {

// picture u8 or f32 [H, W, 3] to the restored one, f32 [H*s, W*s, 3], about [0, 1], not clamped; s is network.output_scale().
// The picture is padded with zeros on the right and bottom to network.padding_multiple() and the result cropped (spec 5.2).
Tensor restore_picture(const SwinIR& network, const Tensor& picture);

// The same with what else a file carries: alpha, enlarged bicubically where the network enlarges; the colour profile; a grey
// picture becomes grey again (BT.601 luma of the result). Pixels are truncated (spec 5.3 step 8) to 8 bit, or to 16 bit where
// the picture has 16 and `sixteen_bit` is set.
Picture restore_picture(const SwinIR& network, const Picture& picture, bool sixteen_bit);

struct RestoreOptions {
  std::filesystem::path input;   // a picture, or a folder of pictures (with its sub-folders)
  std::filesystem::path output;  // a file name; for a folder, or when it is an existing folder, the folder results go to
  std::filesystem::path weights, config;
  bool overwrite = false;
};

// Restores one picture or a folder, whose structure is kept; results of a folder are PNG. Results have what the picture has:
// alpha, 16 bit, grey, colour profile. A name whose format holds no 16 bit gets 8; one whose format cannot hold the alpha or
// the grey profile is an InputError before the picture is computed. A file that cannot be read is reported and left out; then,
// after the others, InputError. Existing results are refused before anything is computed, unless `overwrite`. Gives the number
// of pictures restored.
int64_t restore_files(const RestoreOptions& options);

}  // namespace relume
