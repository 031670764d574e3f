// What a file of SwinIR holds: from a configuration to names and shapes, and from those back to a configuration. Neither needs
// the network itself, whose memory a file of strangers must not decide about.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/swinir.h"
#include "tensor/core/source.h"

namespace relume {

struct ExpectedTensor {
  std::string name;
  Shape shape;          // as stored: conv weights [O, I, kh, kw]
  bool buffer = false;  // follows from the configuration; a file may lack it
};

// Parameters and buffers of SwinIR(config) under their published names. `config` is valid; InputError for more than 256 groups.
std::vector<ExpectedTensor> swinir_layout(const SwinIRConfig& config);

// How the tensors of a file fit what a network expects, as load_strict() judges it. One line for each that does not.
struct LayoutFit {
  int64_t expected = 0, fitting = 0;             // of the expected tensors, buffers that the file lacks left out
  std::vector<std::string> missing, unexpected;  // "conv_last.weight [3, 64, 3, 3]"
  std::vector<std::string> misshaped;            // "shape of conv_last.weight: [1, 64, 3, 3], expected [3, 64, 3, 3]"
  bool whole() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }
};
LayoutFit fit_layout(const std::vector<ExpectedTensor>& expected, const std::vector<TensorInfo>& found);

// "700 of 732 tensors fit, 30 are missing, 1 is unexpected, 1 has another shape or type".
std::string summary(const LayoutFit& fit);
// "\n  missing: ..." for the first 20 of each sort, and how many more there are.
std::string listing(const LayoutFit& fit);

struct InferredSwinIR {
  SwinIRConfig config;
  std::vector<std::string>
      assumed;                // what names and shapes do not show, "img_range 1": the configuration holds it all the same
  std::string contradiction;  // why `config` is not valid, when it is not
};

// The configuration of a SwinIR, published or home-made, whole or not, by the names and shapes of its tensors alone; none when
// no tensor has the name of a SwinIR's block. What a part is needed for and missing has the paper's value.
std::optional<InferredSwinIR> infer_swinir(const std::vector<TensorInfo>& tensors);

}  // namespace relume
