// Differentiable pointwise operations. Inputs of one call share dtype and device; shapes are equal unless stated.
#pragma once

#include "autograd/graph.h"
#include "tensor/scalar/activation.h"

namespace relume {

Tensor activate(const Tensor& x, Activation act);                             // act(x)
inline Tensor gelu(const Tensor& x) { return activate(x, gelu_activation); }  // x * Phi(x), the exact erf form
inline Tensor silu(const Tensor& x) { return activate(x, silu_activation); }
inline Tensor leaky_relu(const Tensor& x, double slope) { return activate(x, leaky_relu_activation(slope)); }

// x [..., 2 C] to value * act(gate) [..., C]: the first half of the channels is the value, the second the gate (GEGLU with the
// erf GELU). Saves x.
Tensor gated_activation(const Tensor& x, Activation act);

Tensor clamp(const Tensor& x, double low, double high);  // x held within [low, high]; no gradient beyond them
Tensor exp(const Tensor& x);                             // e^x. Saves the result

Tensor add(const Tensor& x, const Tensor& y);
Tensor sub(const Tensor& x, const Tensor& y);
Tensor mul(const Tensor& x, const Tensor& y);
Tensor scale(const Tensor& x, double factor);

// The same numbers in another float type; x itself when nothing changes. The gradient goes back in x's own type: networks
// compute in 16 bits on parameters that are kept, and learn, in f32.
Tensor cast(const Tensor& x, DType dtype);

// x [..., R, C] + table [R, C] (or [C]), the table repeated over the leading axes: a bias, a position embedding.
Tensor add_rows(const Tensor& x, const Tensor& table);

// x [N, ..., C] + table [N, C], a row of the table for each sample: the time embedding of a U-Net.
Tensor add_per_sample(const Tensor& x, const Tensor& table);

// x[..., c] * scale[c] + shift[c] with constants; shift may be empty (zeros).
Tensor channel_affine(const Tensor& x, const std::vector<double>& scale, const std::vector<double>& shift);

}  // namespace relume
