// Attention within the windows of a map, from packed queries, keys and values: what the slots of attention.h have between their
// linear maps. f32, f16 and bf16, dense or pitched rows; scores never reach memory.
#pragma once

#include "tensor/kernels/attention.h"

namespace relume::cuda {

// y [N, H, W, C] and, unless undefined, lse f32 [N, H, W, heads], from the table and qkv [N, H, W, 3*C], whose channels are
// [3][heads][head_dim].
void window_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                              const kernels::WindowAttentionOptions& options);
// dqkv and, unless undefined, dtable from dy and what the forward pass had and gave.
void window_attention_backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                               const Tensor& qkv, const Tensor& table, const kernels::WindowAttentionOptions& options);

}  // namespace relume::cuda
