// Slots of matrix products. A backend packs a weight once per version of its storage.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/scalar/activation.h"

namespace relume::kernels {

// What happens to a product before it is stored: y = act(x w^T + bias) * sample_scale[n] + residual.
struct LinearEpilogue {
  Activation act = {};
  Tensor pre_activation = {};  // if defined, x w^T + bias is stored there: like y, needed by the gradient of act
  Tensor sample_scale = {};    // f32 [N]: one factor per sample of the first axis (stochastic depth)
  Tensor residual = {};        // like y; may be y itself
};

// y [..., O] from x [..., I], w [O, I], bias [O] or undefined. x, y, residual: dense or pitched rows.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const LinearEpilogue& epilogue)>
    linear_forward{"linear_forward"};
// dx [..., I] = dy [..., O] * w.
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& w)> linear_backward_data{"linear_backward_data"};
// dw [O, I] = dy^T x and db [O] = column sums of dy, summed over all rows, both overwritten; db may be undefined: not wanted.
inline Kernel<void(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x)> linear_backward_weight{
    "linear_backward_weight"};

template <class F> void for_each_matmul_slot(F&& f) { f(linear_forward), f(linear_backward_data), f(linear_backward_weight); }

}  // namespace relume::kernels
