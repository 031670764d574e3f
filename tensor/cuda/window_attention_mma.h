// Attention in windows on tensor cores: f16 and bf16, windows of up to 64 tokens, heads of up to 32 channels (SwinIR has 30).
// Called by window_attention.cu.
#pragma once

#include "tensor/cuda/attention_windows.h"

namespace relume::cuda {

// Whether tensor cores can have it.
inline bool fits_tensor_cores(const Windows& w) { return w.tokens <= 64 && w.head_dim <= 32; }

template <class T> void attend_windows_on_tensor_cores(const char* name, const Windows& w, const Tensor& y, const Tensor& lse,
                                                       const Tensor& qkv, const Tensor& table);
// partial f32 [bins, chunks, heads] is what each block gives for the table's gradient; it may be null.
template <class T> void window_gradients_on_tensor_cores(const char* name, const Windows& w, const Tensor& dqkv, float* partial,
                                                         const Tensor& dy, const Tensor& lse, const Tensor& qkv,
                                                         const Tensor& table);

}  // namespace relume::cuda
