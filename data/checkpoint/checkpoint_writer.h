// Writes weights in the format that the file's name asks for.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensor/core/source.h"

namespace relume {

enum class CheckpointFormat { safetensors, torch, hdf5 };

// .safetensors; .pth, .pt, .ckpt; .h5, .hdf5. InputError listing them for other names.
CheckpointFormat checkpoint_format(const std::filesystem::path& path);
const char* name_of(CheckpointFormat format);

struct CheckpointWriteOptions {
  std::optional<DType> floats;  // convert floating-point tensors to this type; others stay as they are
};

// Writes all tensors of `source` atomically, one in memory at a time, with `metadata` where the format has a place for it.
// Gives what its reader should know, one line each: metadata left out, values that became infinite in a narrower type.
std::vector<std::string> write_checkpoint(const std::filesystem::path& path, const TensorSource& source,
                                          const std::map<std::string, std::string>& metadata,
                                          const CheckpointWriteOptions& options = {});

}  // namespace relume
