// Slots of pointwise operations. Every tensor of a call has the same float dtype and device; dense or pitched rows. f16 and
// bf16 are widened to f32 inside. The formulas are the functors of tensor/scalar, written once for all backends.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/scalar/activation.h"

namespace relume::kernels {

// y = act(x); y may be x.
inline Kernel<void(const Tensor& y, const Tensor& x, Activation act)> activation_forward{"activation_forward"};
// dx = dy * act'(x), x the input of the forward pass; dx may be dy.
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act)> activation_backward{
    "activation_backward"};

// y[..., c] = x[..., c] * act(x[..., C + c]): a gated map of 2 C channels to C (GEGLU, Shazeer 2020, with act the erf GELU).
inline Kernel<void(const Tensor& y, const Tensor& x, Activation act)> gated_activation_forward{"gated_activation_forward"};
// dx [..., 2 C] from dy [..., C] and x, the input of the forward pass; dx may be x.
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act)> gated_activation_backward{
    "gated_activation_backward"};

// y = x held within [low, high]; y may be x.
inline Kernel<void(const Tensor& y, const Tensor& x, double low, double high)> clamp_forward{"clamp_forward"};
// dx = dy where x lies within [low, high], else 0; dx may be dy.
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high)> clamp_backward{
    "clamp_backward"};
// y = e^x; y may be x. Its gradient is a product with y.
inline Kernel<void(const Tensor& y, const Tensor& x)> exponential{"exponential"};

// out = a * x + b * y; y undefined means out = a * x. out may be x or y.
inline Kernel<void(const Tensor& out, double a, const Tensor& x, double b, const Tensor& y)> axpby{"axpby"};
// out = x * y; out may be x or y.
inline Kernel<void(const Tensor& out, const Tensor& x, const Tensor& y)> multiply{"multiply"};
// out[r, :] = x[r, :] + table[r mod R, :] for the rows r of x; table has R rows of the same length (a bias has one).
inline Kernel<void(const Tensor& out, const Tensor& x, const Tensor& table)> add_rows{"add_rows"};
// table[t, :] = sum of x[r, :] over the rows with r mod R = t: the gradient of add_rows. Accumulates in f32 or better.
inline Kernel<void(const Tensor& table, const Tensor& x)> sum_rows{"sum_rows"};
// out[..., c] = x[..., c] * scale[c] + shift[c]; shift undefined means 0. scale and shift are f64 [C] on the CPU: constants of
// a network (mean and range of its pictures), not parameters.
inline Kernel<void(const Tensor& out, const Tensor& x, const Tensor& scale, const Tensor& shift)> channel_affine{
    "channel_affine", Operands::anywhere};
template <class F> void for_each_elementwise_slot(F&& f) {
  f(activation_forward), f(activation_backward), f(gated_activation_forward), f(gated_activation_backward);
  f(clamp_forward), f(clamp_backward), f(exponential), f(axpby), f(multiply), f(add_rows), f(sum_rows), f(channel_affine);
}

}  // namespace relume::kernels
