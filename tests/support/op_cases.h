// The table of operation cases (design D2): one list drives correctness against the f64 reference, gradient checks, 16-bit
// storage, pitched rows, the coverage of the slots, and the benchmarks. A new operation adds its lines in op_cases.cpp and is
// tested.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume::test {

struct OpInput {
  Shape shape;
  double low = -1, high = 1;
  double off_zero = 0;  // values nearer to zero are moved away from it: kinks of activations
  bool differentiable = true;
};

struct OpCase {
  std::string name;  // "conv2d/3x3/odd": operation first
  std::vector<OpInput> inputs;
  std::function<Tensor(const std::vector<Tensor>&)> run;
  double tolerance = 2e-6;           // of f32 values, relative L2 against f64
  double gradient_tolerance = 1e-5;  // of f32 gradients
  bool pitched = true;               // also run on inputs whose rows are pitched
  double flops = 0;                  // benchmarks only: of one forward pass
};

inline std::ostream& operator<<(std::ostream& out, const OpCase& c) { return out << c.name; }

const std::vector<OpCase>& op_cases();     // small awkward shapes: 1, primes, no multiple of any tile
const std::vector<OpCase>& bench_cases();  // shapes of the paper's networks at 512 x 512 and of the demo's

// The inputs of a case: the same numbers for every dtype, up to rounding.
std::vector<Tensor> inputs_of(const OpCase& c, DType dtype);

}  // namespace relume::test
