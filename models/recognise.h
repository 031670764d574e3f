// Which published network a file of weights holds, by names, types and shapes alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/swinir_layout.h"

namespace relume {

enum class NetworkKind { unknown, swinir, rrdbnet, scunet, latent_diffusion, control_net, other };

struct RecognisedNetwork {
  NetworkKind kind = NetworkKind::unknown;
  std::string name;                      // "SwinIR", "IRControlNet (DiffBIR, stage two)"; empty: none that is known
  std::string use;                       // how this version runs it: options of a command; empty: it does not
  std::optional<InferredSwinIR> swinir;  // of a SwinIR
  LayoutFit fit;                         // of a SwinIR whose configuration does not contradict itself
  std::vector<std::string> parts;        // of other networks, beside what was published: "UNet: 686 tensors, as published"
};

// Known beside SwinIR (spec/diffbir.md 2.3, 2.4, 3.5): files of Stable Diffusion, the full files of DiffBIR v1, IRControlNet,
// RRDBNet (BSRNet), SCUNet; and, which no command runs by themselves, a bare UNet, AutoencoderKL, OpenCLIP's text tower.
RecognisedNetwork recognise_network(const std::vector<TensorInfo>& tensors);

}  // namespace relume
