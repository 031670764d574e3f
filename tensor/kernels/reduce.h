// Slots that reduce a tensor to one number. The result is the same for every number of threads: partial sums over fixed blocks,
// in double on the CPU, added in order.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// out = sum of x; out is a scalar (shape []) of x's dtype or f64.
inline Kernel<void(const Tensor& out, const Tensor& x)> sum{"sum"};
// dx = dy everywhere; dy is a scalar of dx's dtype on its device.
inline Kernel<void(const Tensor& dx, const Tensor& dy)> sum_backward{"sum_backward"};
// out = sum of (a - b)^2; b undefined means 0 (the squared norm of a). out as above.
inline Kernel<void(const Tensor& out, const Tensor& a, const Tensor& b)> squared_error{"squared_error"};
// da = 2 * dy * (a - b); dy is a scalar of a's dtype on its device. With a and b exchanged it is the gradient towards b.
inline Kernel<void(const Tensor& da, const Tensor& dy, const Tensor& a, const Tensor& b)> squared_error_backward{
    "squared_error_backward"};

template <class F> void for_each_reduce_slot(F&& f) { f(sum), f(sum_backward), f(squared_error), f(squared_error_backward); }

}  // namespace relume::kernels
