// Differentiable matrix products, with what surrounds them in a network fused in.
#pragma once

#include "autograd/graph.h"
#include "tensor/scalar/activation.h"

namespace relume {

// A LayerNorm over the last axis: weight and bias [C].
struct NormParameters {
  Tensor weight = {}, bias = {};
  double eps = 1e-5;
};

// What stands around a linear map.
struct LinearOptions {
  Activation act = {};
  Tensor sample_scale = {};  // f32 [N], no gradient: factor per sample (stochastic depth)
  Tensor residual = {};      // added last
  NormParameters norm = {};  // of x, before the product; without a weight there is none
};

// y [..., O] = act(norm(x [..., I]) w^T + bias) * sample_scale[n] + residual; w [O, I] as published, bias [O] or undefined.
// Saves x, w, two numbers per row of a norm and, with an activation, what it was applied to.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const LinearOptions& options = {});

// The second half of a transformer block: y = x + sample_scale[n] * (act(norm(x) w1^T + b1) w2^T + b2), x [..., C], w1 [H, C],
// w2 [C, H], biases [H], [C] or undefined. Saves x, the weights, two numbers per row and what act was applied to, [..., H].
struct MlpParameters {
  NormParameters norm;
  Tensor w1, b1, w2, b2;
  Activation act = gelu_activation;
};
Tensor residual_mlp(const Tensor& x, const MlpParameters& parameters, const Tensor& sample_scale = {});

}  // namespace relume
