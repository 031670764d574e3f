// Differentiable matrix products.
#pragma once

#include "autograd/graph.h"
#include "tensor/scalar/activation.h"

namespace relume {

// What follows a linear map before its result is stored; fused into it.
struct LinearOptions {
  Activation act = {};
  Tensor sample_scale = {};  // f32 [N], no gradient: factor per sample (stochastic depth)
  Tensor residual = {};      // added last
};

// y [..., O] = act(x [..., I] w^T + bias) * sample_scale[n] + residual; w [O, I] as published, bias [O] or undefined. Saves x,
// w and, with an activation, what it was applied to.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const LinearOptions& options = {});

}  // namespace relume
