// Slots of attention. Queries, keys and values are views of one packed projection; no copies for partition, shift or merge, and
// no score matrix ever leaves the cache.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

struct WindowAttentionOptions {
  int heads = 1;
  int window = 8;    // windows of window x window tokens; H and W are multiples of it
  int shift = 0;     // cyclic shift of the map before it is cut into windows (SwinIR's odd blocks: window / 2)
  double scale = 1;  // of the queries, head_dim^-0.5
};

// Window attention straight on the channels-last map (spec 2.1, WMSA between its two projections).
//   qkv   [N, H, W, 3*C]: channels laid out [3][heads][head_dim]; dense or pitched rows
//   table [(2*window-1)^2, heads]: relative position bias, row (yi-yj+window-1)*(2*window-1) + (xi-xj+window-1)
//   y     [N, H, W, C]: softmax(scale * q k^T + bias + mask) v, heads side by side
//   lse   [N, H, W, heads]: log of the softmax denominators, kept for the backward pass; undefined when none will be asked for
// Shifted windows: tokens of different regions of the map (labels of the slices [0,-window), [-window,-shift), [-shift,end) of
// each axis) get -100 added to their score, not -infinity. f32 and f64.
inline Kernel<void(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                   const WindowAttentionOptions& options)>
    window_attention_forward{"window_attention_forward"};
// dqkv [N, H, W, 3*C], dtable like table (overwritten; undefined: not wanted). Scores are recomputed from qkv and lse.
inline Kernel<void(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                   const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& options)>
    window_attention_backward{"window_attention_backward"};

template <class F> void for_each_attention_slot(F&& f) { f(window_attention_forward), f(window_attention_backward); }

}  // namespace relume::kernels
