// Attention over whole sequences, key by key: what the slots attention_forward and attention_backward
// (tensor/kernels/attention.h) say of shapes, for f32, f16 and bf16. Scores never reach memory, sums are in f32, and the same
// bits come out every time. Heads of up to 512 channels in 16 bits, on tensor cores where the rows of every head lie on 16
// bytes; other rows, and f32, take plain products, whose heads are as large as shared memory allows. An Error where that is too
// small.
#pragma once

#include "tensor/kernels/attention.h"

namespace relume::cuda {

// y and, unless undefined, lse; there is at least one key.
void streaming_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const kernels::AttentionOptions& options);
// The gradients that are defined: dq in one pass over the keys, dk and dv together in one over the queries.
void streaming_attention_backward(const kernels::AttentionGradients& gradients, const Tensor& dy, const Tensor& y,
                                  const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                                  const kernels::AttentionOptions& options);

}  // namespace relume::cuda
