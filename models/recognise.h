// Which published network a file of weights holds, by names, types and shapes alone.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/swinir_layout.h"

namespace relume {

struct RecognisedNetwork {
  std::string name;                      // "SwinIR", "IRControlNet (DiffBIR, stage two)"; empty: none that is known
  bool runs = false;                     // whether this version runs it
  std::optional<InferredSwinIR> swinir;  // of a SwinIR
  LayoutFit fit;                         // of a SwinIR whose configuration does not contradict itself
  std::vector<std::string> parts;        // of other networks, beside what was published: "UNet: 686 tensors, as published"
};

// Known beside SwinIR, and not run yet (spec/diffbir.md 2.3, 2.4, 3.5): files of Stable Diffusion, the full files of DiffBIR
// v1, IRControlNet, a bare UNet, AutoencoderKL, OpenCLIP's text tower, RRDBNet (BSRNet), SCUNet.
RecognisedNetwork recognise_network(const std::vector<TensorInfo>& tensors);

}  // namespace relume
