// Restoring pictures with a stage-one network (spec/diffbir.md 5.2).
#pragma once

#include <filesystem>
#include <memory>

#include "models/swinir.h"

namespace relume {

// The network of a weight file. Its configuration comes from `config` (a YAML file with SwinIRConfig's keys) when given, else
// from the file's own metadata, else it is the paper's. InputError, listing every name that does not fit, when the weights
// belong to another network.
std::unique_ptr<SwinIR> load_swinir(const std::filesystem::path& weights, const std::filesystem::path& config = {});

// picture u8 [H, W, 3] to the restored one, f32 [H*s, W*s, 3], about [0, 1], not clamped; s is network.output_scale(). The
// picture is padded with zeros on the right and bottom to network.padding_multiple() and the result cropped (spec 5.2).
Tensor restore_picture(const SwinIR& network, const Tensor& picture);

struct RestoreOptions {
  std::filesystem::path input;   // a picture, or a folder of pictures (with its sub-folders)
  std::filesystem::path output;  // a file name; for a folder, or when it is an existing folder, the folder results go to
  std::filesystem::path weights, config;
  bool overwrite = false;
};

// Restores one picture or a folder, whose structure is kept; results of a folder are PNG. A file that cannot be read is
// reported and left out; then, after the others, InputError. Existing results are refused before anything is computed, unless
// `overwrite`. Gives the number of pictures restored.
int64_t restore_files(const RestoreOptions& options);

}  // namespace relume
