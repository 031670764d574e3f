// Differentiable attention.
#pragma once

#include "autograd/matmul.h"
#include "tensor/kernels/attention.h"

namespace relume {

using kernels::WindowAttentionOptions;

// The first half of a Swin block: y = x + sample_scale[n] * (window_attention(norm(x) wqkv^T + bqkv) wproj^T + bproj), x [N, H,
// W, C] (see tensor/kernels/attention.h). Saves x, the weights, two numbers per pixel and one per pixel and head; queries,
// keys, values and scores are computed again.
struct WindowAttentionParameters {
  NormParameters norm;
  Tensor qkv_weight, qkv_bias;    // [3*C, C], [3*C] or undefined
  Tensor table;                   // [(2*window-1)^2, heads]
  Tensor proj_weight, proj_bias;  // [C, C], [C] or undefined
  WindowAttentionOptions options;
};
Tensor residual_window_attention(const Tensor& x, const WindowAttentionParameters& parameters, const Tensor& sample_scale = {});

}  // namespace relume
