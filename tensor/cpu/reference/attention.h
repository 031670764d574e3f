// Attention in f64, loop by loop from its definition (of windows: spec 2.1): what the slots run for f64 tensors, and the oracle
// of the f32 kernels.
#pragma once

#include "tensor/kernels/attention.h"

namespace relume::cpu::reference {

// The attention alone: qkv [N, H, W, 3*C] and table to y [N, H, W, C] and, if defined, lse [N, H, W, heads].
void window_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                              const kernels::WindowAttentionOptions& options);
// dtable may be undefined.
void window_attention_backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                               const Tensor& qkv, const Tensor& table, const kernels::WindowAttentionOptions& options);

void residual_window_attention_forward(const Tensor& y, const Tensor& x, const kernels::ResidualWindowAttention& attention);
void residual_window_attention_backward(const kernels::ResidualWindowAttentionGradients& gradients, const Tensor& dy,
                                        const Tensor& x, const kernels::ResidualWindowAttention& attention);

// Over whole sequences.
void attention_forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                       const kernels::AttentionOptions& options);
void attention_backward(const kernels::AttentionGradients& gradients, const Tensor& dy, const Tensor& y, const Tensor& lse,
                        const Tensor& q, const Tensor& k, const Tensor& v, const kernels::AttentionOptions& options);

}  // namespace relume::cpu::reference
