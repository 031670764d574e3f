// Training configurations of stage two in the reference's layout: what its version `custom` restores with
// (spec/diffbir.md 5.1).
#pragma once

#include <filesystem>

#include "infer/stage_two_config.h"
#include "models/swinir.h"

namespace relume {

struct ReferenceTraining {
  ControlLdmConfig networks;
  DiffusionConfig diffusion;
  SwinIRConfig cleaner;                          // the network of stage one
  std::filesystem::path prior, cleaner_weights;  // train.sd_path and train.swinir_path; empty: not named there
};

// InputError with file, line and key for what is unknown, missing, or would make networks that are not built here. What
// concerns training alone (dataset, batch_transform, the rest of train) is not looked at.
ReferenceTraining read_reference_training(const std::filesystem::path& file);

}  // namespace relume
