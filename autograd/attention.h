// Differentiable attention.
#pragma once

#include "autograd/matmul.h"
#include "tensor/kernels/attention.h"

namespace relume {

using kernels::AttentionOptions;
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

// Scaled dot-product attention over whole sequences: y [N, L, C] = softmax(scale * q k^T) v within each head, from q [N, L, C]
// and k, v [N, S, C], C = heads * D, heads side by side; S from 1, and L where it is causal (see tensor/kernels/attention.h).
// Saves q, k, v, y and one number per query and head.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);
// The same of one sequence, from its packed queries, keys and values [N, L, 3*C] in this order; so is the gradient.
Tensor self_attention(const Tensor& qkv, const AttentionOptions& options);

}  // namespace relume
