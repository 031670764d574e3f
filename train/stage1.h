// Stage one: SwinIR learns to undo the degradation of real pictures (spec/diffbir.md 2.2). Loss: squared error, summed over the
// batch. Everything drawn depends on (seed, step, sample) alone, so a run is reproducible on a machine whatever its threads.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "train/stage1_config.h"

namespace relume {

struct Stage1Result {
  int64_t steps = 0;
  double seconds = 0;
  std::filesystem::path weights;                            // output/final.safetensors
  std::vector<std::pair<int64_t, double>> loss;             // per element, mean over log_every steps
  std::vector<std::pair<int64_t, double>> validation_psnr;  // dB, mean over the held-out pictures
};

// Writes into config.output: config.yaml (resolved), log.jsonl, checkpoints/<step>.safetensors, final.safetensors. On an
// interrupt the weights of the last finished step are saved as a checkpoint before Interrupted is thrown.
Stage1Result train_stage1(const Stage1Config& config);

// Writes a network with its configuration in the file's metadata, which is how `relume restore` knows what to build.
void save_swinir(const SwinIR& network, int64_t step, const std::filesystem::path& path);

}  // namespace relume
