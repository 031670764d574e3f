// The network that a file of weights describes.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "data/checkpoint/checkpoint.h"
#include "models/swinir.h"

namespace relume {

// The configuration that a file carries: metadata relume.swinir, or the network's section of a training state's configuration.
// InputError naming file, line and key when it is damaged.
std::optional<SwinIRConfig> stored_swinir_config(const Checkpoint& checkpoint);

// The SwinIR of a file of any format that open_checkpoint() reads. Its configuration comes from `config` (as a file: YAML with
// SwinIRConfig's keys) when given, else from the file itself, else from the names and shapes of the tensors: then a line on
// standard error says what these do not show and was assumed. InputError when the file holds another network, named where it
// is known, and when the tensors do not fit, with the first 20 of each sort. The network lies on `device`.
std::unique_ptr<SwinIR> load_swinir(const std::filesystem::path& weights, const std::filesystem::path& config = {},
                                    Device device = {});
std::unique_ptr<SwinIR> load_swinir(const Checkpoint& checkpoint, const std::optional<SwinIRConfig>& config = {},
                                    Device device = {});

}  // namespace relume
