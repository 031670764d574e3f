// Slots of the optimiser steps: one pass over parameter, gradient and moments.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

struct AdamWStep {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;    // decoupled: parameter *= 1 - lr * weight_decay before the update
  int64_t step = 1;           // 1 for the first step: bias correction
  double gradient_scale = 1;  // multiplies the gradient (clipping, loss scaling)
};

// AdamW (Loshchilov & Hutter 2019): m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// p = p (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps). All four tensors f32 (or f64), same shape, dense;
// parameter, m and v are updated in place. The caller bumps the parameter's version.
inline Kernel<void(const Tensor& parameter, const Tensor& m, const Tensor& v, const Tensor& gradient, const AdamWStep& step)>
    adamw_step{"adamw_step"};

template <class F> void for_each_optimizer_slot(F&& f) { f(adamw_step); }

}  // namespace relume::kernels
