// Slots of convolution, channels last: x [N, H, W, I], weight [O, kh, kw, I], y [N, H', W', O]. Cross-correlation, as
// everywhere in the field. A backend packs a weight once per version of its storage.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/scalar/activation.h"

namespace relume::kernels {

struct ConvOptions {
  int stride = 1;                                // 1 where there is an enlargement
  int top = 0, left = 0, bottom = 0, right = 0;  // zero padding; negative: so many rows (columns) of x are left out
  int enlarge = 1;  // x is first enlarged so many times, each pixel repeated (nearest neighbour); the padding lies around that
  static ConvOptions same(int kernel, int enlarge = 1) {  // odd kernel, the (enlarged) size kept
    return {1, kernel / 2, kernel / 2, kernel / 2, kernel / 2, enlarge};
  }
  bool operator==(const ConvOptions&) const = default;
};

// What happens to a convolution before it is stored: act(conv + bias) + residual.
struct ConvEpilogue {
  Activation act = {};
  Tensor residual = {};  // like y; may be y itself
};

inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& options,
                   const ConvEpilogue& epilogue)>
    conv2d_forward{"conv2d_forward"};
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& w, const ConvOptions& options)> conv2d_backward_data{
    "conv2d_backward_data"};
// dw like w and db [O], summed over everything else, both overwritten; db may be undefined: not wanted.
inline Kernel<void(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x, const ConvOptions& options)>
    conv2d_backward_weight{"conv2d_backward_weight"};

template <class F> void for_each_conv_slot(F&& f) { f(conv2d_forward), f(conv2d_backward_data), f(conv2d_backward_weight); }

}  // namespace relume::kernels
