// Differentiable attention.
#pragma once

#include "autograd/graph.h"
#include "tensor/kernels/attention.h"

namespace relume {

using kernels::WindowAttentionOptions;

// Window attention on the map itself: qkv [N, H, W, 3C] and the relative position table [(2w-1)^2, heads] give [N, H, W, C]
// (see tensor/kernels/attention.h). Saves qkv, the result and one number per token and head; scores are recomputed.
Tensor window_attention(const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& options);

}  // namespace relume
