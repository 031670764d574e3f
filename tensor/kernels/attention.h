// Slots of attention: within the windows of a map, and over whole sequences. Scores are never stored; no copies for partition,
// shift or merge.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/kernels/matmul.h"

namespace relume::kernels {

struct WindowAttentionOptions {
  int heads = 1;
  int window = 8;      // windows of window x window tokens; H and W are multiples of it
  int shift = 0;       // cyclic shift of the map before it is cut into windows (SwinIR's odd blocks: window / 2)
  double scale = 1;    // of the queries, head_dim^-0.5
  double mask = -100;  // added to the score of a pair from different regions, 0 or below; -infinity: it never meets
};

// The first half of a Swin block (spec 2.1), straight on the channels-last map x [N, H, W, C]:
//   q, k, v = norm(x) wqkv^T + bqkv, channels laid out [3][heads][head_dim]
//   y = x + sample_scale[n] * (softmax(scale * q k^T + bias + mask) v wproj^T + bproj), heads side by side
// the softmax within windows. Shifted windows: tokens of different regions of the map (labels of the slices [0,-window),
// [-window,-shift), [-shift,end) of each axis) get `mask` added to their score: -100 in SwinIR, -infinity in SCUNet. f32 and
// f64.
struct ResidualWindowAttention {
  RowNorm norm = {};                      // with a weight
  Tensor qkv_weight = {}, qkv_bias = {};  // [3*C, C], [3*C] or undefined
  Tensor table = {};                      // [(2*window-1)^2, heads]: bias, row (yi-yj+window-1)*(2*window-1) + (xi-xj+window-1)
  Tensor proj_weight = {}, proj_bias = {};  // [C, C], [C] or undefined
  WindowAttentionOptions options = {};
  Tensor sample_scale = {};  // f32 [N]
  Tensor lse = {};  // [N, H, W, heads]: log of the softmax denominators (f64 for f64, else f32); written by the forward
                    // pass unless undefined, read by the backward pass
};
// y, x: dense or pitched rows.
inline Kernel<void(const Tensor& y, const Tensor& x, const ResidualWindowAttention& attention)>
    residual_window_attention_forward{"residual_window_attention_forward"};
struct ResidualWindowAttentionGradients {
  Tensor dx, dnorm_weight, dnorm_bias, dqkv_weight, dqkv_bias, dtable, dproj_weight, dproj_bias;  // each overwritten;
                                                                                                  // undefined: not wanted
};
// Everything but x, the norm's statistics and lse is computed again.
inline Kernel<void(const ResidualWindowAttentionGradients& gradients, const Tensor& dy, const Tensor& x,
                   const ResidualWindowAttention& attention)>
    residual_window_attention_backward{"residual_window_attention_backward"};

// Scaled dot-product attention over whole sequences (U-Net, VAE, text encoder): for each sample n and head h
//   y = softmax(scale * q k^T) v
// q, y: [N, L, heads * D], k, v: [N, S, heads * D], heads side by side in the last axis; rows dense or pitched (views of a
// packed qkv map go in as they are); L and S are free of each other (cross attention). The L x S scores are never stored.
struct AttentionOptions {
  int heads = 1;
  double scale = 1;     // D^-0.5 in all published networks
  bool causal = false;  // row i sees the columns 0 .. i alone (text encoder); L = S
};
// lse: [N, L, heads], log of the softmax denominators (f64 for f64, else f32); undefined when no gradient will be asked for.
inline Kernel<void(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                   const AttentionOptions& options)>
    attention_forward{"attention_forward"};
struct AttentionGradients {
  Tensor dq, dk, dv;  // each overwritten, dense or pitched rows; undefined: not wanted
};
// The scores are computed again from q, k and lse; y is what the forward pass gave.
inline Kernel<void(const AttentionGradients& gradients, const Tensor& dy, const Tensor& y, const Tensor& lse, const Tensor& q,
                   const Tensor& k, const Tensor& v, const AttentionOptions& options)>
    attention_backward{"attention_backward"};

template <class F> void for_each_attention_slot(F&& f) {
  f(residual_window_attention_forward), f(residual_window_attention_backward), f(attention_forward), f(attention_backward);
}

}  // namespace relume::kernels
