// Stochastic depth (Huang et al. 2016): in training, a sample's branch is dropped with probability p and otherwise scaled by
// 1 / (1 - p). The draws are counter-based (design D5): they depend on the seed, the step, the sample's number and the branch,
// not on the batch or the rank, so a recomputed block (activation checkpointing) drops the same samples.
#pragma once

#include <cstdint>
#include <functional>

#include "tensor/core/tensor.h"

namespace relume {

// Gives each branch its factor per sample. The training loop sets it before every step; tests inject recorded draws.
struct DropPathDraws {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t first_sample = 0;  // number of the batch's first sample among all samples of the step
};

// f32 [samples] on `device`: 0 or 1 / (1 - probability), the same on every device. `branch` numbers the residual branches of
// the network in order of use.
Tensor drop_path_scale(const DropPathDraws& draws, int branch, double probability, int64_t samples, Device device = {});

}  // namespace relume
