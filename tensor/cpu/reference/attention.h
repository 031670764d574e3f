// Window attention in f64, loop by loop from its definition (spec 2.1): what the slots run for f64 tensors, and the oracle of
// the f32 kernels. Arguments as in tensor/kernels/attention.h.
#pragma once

#include "tensor/kernels/attention.h"

namespace relume::cpu::reference {

void window_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                              const kernels::WindowAttentionOptions& options);
void window_attention_backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                               const Tensor& qkv, const Tensor& table, const kernels::WindowAttentionOptions& options);

}  // namespace relume::cpu::reference
