// Differentiable convolution, channels last.
#pragma once

#include "autograd/graph.h"
#include "tensor/kernels/conv.h"

namespace relume {

using kernels::ConvOptions;

// y [N, H', W', O] = act(x [N, H, W, I] * w [O, kh, kw, I] + bias) + residual; bias [O] and residual (like y) may be undefined.
// Saves x, w and what act needs.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& options, Activation act = {},
              const Tensor& residual = {});

}  // namespace relume
