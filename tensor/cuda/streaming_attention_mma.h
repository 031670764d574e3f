// Streaming attention on tensor cores: f16 and bf16, heads of up to 512 channels. Called by streaming_attention.cu.
#pragma once

#include <initializer_list>

#include "tensor/cuda/attention_sequences.h"

namespace relume::cuda {

// Whether tensor cores can have it: every head's rows in the maps (those that are defined) lie on 16 bytes.
template <class T> bool fits_tensor_cores(const Sequences& s, std::initializer_list<Tensor> maps) {
  constexpr int most_channels = 512;
  bool fits = s.head_dim % pack_size<T> == 0 && s.head_dim <= most_channels;
  for (const Tensor& map : maps) fits = fits && (!map || packs_fit<T, pack_size<T>>(map, false));
  return fits;
}

template <class T> void attend_on_tensor_cores(const char* name, const Sequences& s, const Tensor& y, const Tensor& lse,
                                               const Tensor& q, const Tensor& k, const Tensor& v);
// delta f32 [N, L, heads]: rowsum(dy * y).
template <class T> void gradients_on_tensor_cores(const char* name, const Sequences& s, const kernels::AttentionGradients& g,
                                                  const Tensor& dy, const Tensor& lse, const Tensor& delta, const Tensor& q,
                                                  const Tensor& k, const Tensor& v);

}  // namespace relume::cuda
