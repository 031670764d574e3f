// Networks of stage one, whichever they are.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/checkpoint/checkpoint.h"
#include "infer/cleaner.h"

namespace relume {

// A network of stage one, as the pipeline sees it.
struct LoadedCleaner {
  std::unique_ptr<Module> network;  // which the cleaner refers to; null: pictures are taken as they are
  Cleaner cleaner;
  std::string name;                  // "SwinIR"
  bool published_stage_one = false;  // a SwinIR with an unshuffle by 8 in front, as all of DiffBIR's
};

// A SwinIR as load_swinir() gives it, an RRDBNet (BSRNet) whose configuration its tensors show, or the published SCUNet, with
// `compute` as the type it computes in. `config` is for a SwinIR alone. InputError as from load_swinir().
LoadedCleaner load_cleaner(const Checkpoint& checkpoint, const std::optional<SwinIRConfig>& config = {}, Device device = {},
                           DType compute = DType::f32);
// Leaves pictures as they are: what has been cleaned elsewhere, or not at all.
LoadedCleaner no_cleaner();

}  // namespace relume
