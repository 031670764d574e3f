// Slots of matrix products, with what stands before and behind them in a network fused in. A backend may keep a weight packed,
// once per version of its storage.
#pragma once

#include <filesystem>

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/scalar/activation.h"

namespace relume::kernels {

// LayerNorm over the rows of x on their way into a product (norm.h has the formula); without a weight x goes in as it is.
struct RowNorm {
  Tensor weight = {}, bias = {};  // [I]
  double eps = 1e-5;
  Tensor stats = {};  // [rows, 2], mean and rstd of each row (f64 for f64, else f32): written by the forward pass unless
                      // undefined, read by the backward pass
};

// What happens to a product before it is stored: y = act(x w^T + bias) * sample_scale[n] + residual.
struct LinearEpilogue {
  Activation act = {};
  Tensor pre_activation = {};  // like y: x w^T + bias; written by the forward pass unless undefined, read by the backward pass
                               // where there is an activation
  Tensor sample_scale = {};    // f32 [N]: one factor per sample of the first axis (stochastic depth)
  Tensor residual = {};        // like y; may be y itself
};

// y [..., O] from x [..., I], w [O, I], bias [O] or undefined. x, y, residual: dense or pitched rows.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const RowNorm& norm,
                   const LinearEpilogue& epilogue)>
    linear_forward{"linear_forward"};

// What a backward pass gives, each overwritten; undefined: not wanted. dw [O, I], db [O].
struct LinearGradients {
  Tensor dx, dw, db, dnorm_weight, dnorm_bias;
};
// From dy [..., O] and what the forward pass had: x, w, norm with its stats, the epilogue's activation with its pre_activation,
// and its sample_scale. (The residual's gradient is dy itself.)
inline Kernel<void(const LinearGradients& gradients, const Tensor& dy, const Tensor& x, const Tensor& w, const RowNorm& norm,
                   const LinearEpilogue& epilogue)>
    linear_backward{"linear_backward"};

// A transformer's second half (spec 2.1): y = x + sample_scale[n] * (act(norm(x) w1^T + b1) w2^T + b2). The hidden rows never
// leave the cache.
struct ResidualMlp {
  RowNorm norm = {};
  Tensor w1 = {}, b1 = {}, w2 = {}, b2 = {};  // [H, C], [H], [C, H], [C]; the biases may be undefined
  Activation act = gelu_activation;
  Tensor hidden = {};  // [..., H]: norm(x) w1^T + b1; written by the forward pass unless undefined, read by the backward pass
  Tensor sample_scale = {};  // f32 [N]
};
// y, x [..., C], dense or pitched.
inline Kernel<void(const Tensor& y, const Tensor& x, const ResidualMlp& mlp)> residual_mlp_forward{"residual_mlp_forward"};
struct ResidualMlpGradients {
  Tensor dx, dnorm_weight, dnorm_bias, dw1, db1, dw2, db2;  // each overwritten; undefined: not wanted
};
inline Kernel<void(const ResidualMlpGradients& gradients, const Tensor& dy, const Tensor& x, const ResidualMlp& mlp)>
    residual_mlp_backward{"residual_mlp_backward"};

// Products on the device take the fastest of its library's algorithms from here on: each kind of product is timed at its first
// use, unless an earlier process has kept the result. Gives the folder of the results; empty where there is nothing to choose
// (the CPU).
inline Kernel<std::filesystem::path(Device device)> tune_products{"tune_products"};

template <class F> void for_each_matmul_slot(F&& f) {
  f(linear_forward), f(linear_backward), f(residual_mlp_forward), f(residual_mlp_backward), f(tune_products);
}

}  // namespace relume::kernels
