// Differentiable normalisations.
#pragma once

#include "autograd/graph.h"
#include "tensor/kernels/norm.h"

namespace relume {

using kernels::GroupNormOptions;

// LayerNorm over the last axis of x [..., C] with weight and bias [C]. Saves x, weight and two numbers per row.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

// act of the GroupNorm of x [N, ..., C] with weight and bias [C]; the statistics are those of the pixels and of C / groups
// neighbouring channels of a sample. Saves x, weight, bias and two numbers per group.
Tensor group_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options = {});

}  // namespace relume
