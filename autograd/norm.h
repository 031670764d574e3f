// Differentiable normalisations.
#pragma once

#include "autograd/graph.h"

namespace relume {

// LayerNorm over the last axis of x [..., C] with weight and bias [C]. Saves x, weight and two numbers per row.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

}  // namespace relume
