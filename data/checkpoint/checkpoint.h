// Weights of any format this program knows, opened by what the file holds and not by its name (docs/checkpoints.md).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "tensor/core/source.h"

namespace relume {

struct CheckpointOptions {
  bool raw_weights = false;  // where a file holds an average (EMA) beside the weights: these instead of it
};

struct Checkpoint {
  std::shared_ptr<const TensorSource> tensors;  // of the network, under their published names; keeps the file mapped
  std::string format;  // "safetensors", "PyTorch", "PyTorch before 1.6", "HDF5", "training state (HDF5)"
  int64_t file_bytes = 0;
  // Of a safetensors file its own; of others the plain values beside the weights ("epoch": "3"); of a training state of ours
  // its texts ("relume.kind", "relume.config").
  std::map<std::string, std::string> metadata;
  std::vector<std::string> taken;   // what was chosen, one line each: "the dict under 'params_ema', not 'params'"
  std::vector<std::string> beside;  // what else the file holds: "optimizer_states: a list of 1"
};

// Opens a checkpoint and checks its structure whole; tensors are read and their checksums verified when they are asked for.
//  - safetensors (data/checkpoint/safetensors.h)
//  - torch.save of this and of earlier layouts (data/checkpoint/torch_file.h): a dict of tensors, or one below the key
//    state_dict, params_ema (the average, which wins), params or model, or below any key when only one holds tensors
//  - HDF5 (data/checkpoint/hdf5_tensors.h), and the training states of ours, recognised by their dataset meta/kind: the tensors
//    of the group ema/, or of weights/ when there is no average
// The prefixes that PyTorch's wrappers put before every name, "module." and "_orig_mod.", are taken off. InputError naming the
// file and what it is instead, for folders, empty and unknown files, Git LFS pointers, web pages; for damage, where.
Checkpoint open_checkpoint(const std::filesystem::path& path, const CheckpointOptions& options = {});
Checkpoint open_checkpoint(const MappedFile& file, const std::string& where, const CheckpointOptions& options = {});

}  // namespace relume
