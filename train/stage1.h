// Stage one: SwinIR learns to undo the degradation of real pictures (spec/diffbir.md 2.2). Loss: squared error, summed over the
// batch. Everything drawn depends on (seed, position, sample) alone, so a run is reproducible on a machine whatever its
// threads, and whether it was interrupted or not.
#pragma once

#include "train/stage1_config.h"
#include "train/trainer.h"

namespace relume {

// Trains into config.output (trainer.h says what is written there); `resume` is none, auto or a state file. The network, its
// gradients, the average and the optimiser's moments lie on `device`; the files say nothing of it, so that a run may go on on
// another one.
TrainingResult train_stage1(const Stage1Config& config, const std::string& resume = "none", Device device = {});

// Writes a network with its configuration in the file's metadata, which is how `relume restore` knows what to build; `averaged`
// weights are called "ema" there, others "raw".
void save_swinir(const SwinIR& network, int64_t step, const std::filesystem::path& path, bool averaged = false);

}  // namespace relume
