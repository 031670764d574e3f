// The networks of stage two from published files (spec/diffbir.md 3.5).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/checkpoint/checkpoint.h"
#include "models/clip_text.h"
#include "models/control_ldm.h"

namespace relume {

struct ControlLdmFiles {
  // Stable Diffusion 2.1, whole: U-Net, autoencoder and text encoder, in a file or in a folder of diffusers; or DiffBIR v1's
  // full file.
  std::filesystem::path prior;
  std::filesystem::path control;  // IRControlNet; empty: the other file holds it, as DiffBIR v1's does
};

// A checkpoint of any format that open_checkpoint() reads, or a folder of diffusers as if it were the original file.
Checkpoint open_networks(const std::filesystem::path& file_or_folder);

// The networks that a published file may hold side by side, by the names that `relume convert --part` has for them.
struct NetworkParts {
  const char* name;                   // "unet"
  std::vector<std::string> prefixes;  // of the names of their tensors
};
const std::vector<NetworkParts>& network_parts();
// A part of a checkpoint: one network under its own names, several under those of the file. InputError when it holds none of
// it, or no part has this name.
std::shared_ptr<const TensorSource> part_of(const Checkpoint& checkpoint, const std::string& part);

// The files of stage two, open as long as this or a network lives. On the CPU networks read their parameters when these are
// needed (load_lazily()).
class ControlLdmSource {
 public:
  // Files of any format that open_checkpoint() reads. InputError when a file lacks a network, says what it holds instead where
  // that is known.
  explicit ControlLdmSource(const ControlLdmFiles& files);

  // On a GPU the parameters have the type `kept`; on the CPU they stay as the files have them, which is f32 to what computes.
  // InputError when tensors do not fit the configuration, with the first of each sort.
  std::unique_ptr<ClipText> text_encoder(const ClipTextConfig& config, Device device = {}, DType kept = DType::f32) const;
  std::unique_ptr<ControlLdm> networks(const ControlLdmConfig& config, Device device = {}, DType kept = DType::f32) const;

  int64_t kept_bytes(DType kept) const;  // of the parameters of networks()

  // The network of stage one in DiffBIR v1's full file; null: the file holds none.
  std::shared_ptr<const TensorSource> cleaner() const;
  // A line for each part of the files that is not used: "sd.ckpt: model_ema: 688 tensors".
  const std::vector<std::string>& left() const { return left_; }

 private:
  std::shared_ptr<const TensorSource> prior_, control_;
  std::string control_prefix_;
  std::vector<std::string> left_;
};

}  // namespace relume
