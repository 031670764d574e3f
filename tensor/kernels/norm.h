// Slots of the normalisations. Statistics and their gradients are computed in f32 or better whatever the dtype (design D6).
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"
#include "tensor/scalar/activation.h"

namespace relume::kernels {

// LayerNorm over the last axis: y = (x - mean) * rstd * weight + bias with rstd = 1 / sqrt(variance + eps), population
// variance. x, y: [..., C] dense or pitched; weight, bias: [C]. stats: [rows, 2], mean and rstd per row (f64 for f64, else
// f32); undefined when no gradient will be asked for.
inline Kernel<void(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps)>
    layer_norm_forward{"layer_norm_forward"};
// dx, dweight, dbias may each be undefined: not wanted. dweight and dbias are overwritten.
inline Kernel<void(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& weight)>
    layer_norm_backward{"layer_norm_backward"};

struct GroupNormOptions {
  int groups = 32;  // of C / groups neighbouring channels each
  double eps = 1e-5;
  Activation act = {};  // applied to the normalised map (SiLU in the U-Net and the VAE)
};

// GroupNorm of channels-last maps, with the activation behind it: y = act((x - mean) * rstd * weight + bias), statistics over
// the pixels and channels of one group of one sample, population variance. x, y: [N, ..., C], dense or pitched rows; weight,
// bias: [C]. stats: [N, groups, 2], mean and rstd (f64 for f64, else f32); undefined when no gradient will be asked for. y may
// be undefined: the statistics alone are wanted; then weight and bias are not read.
inline Kernel<void(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const GroupNormOptions& options)>
    group_norm_forward{"group_norm_forward"};
// The same by statistics from elsewhere, as those of a map of which x is a part. y may be x.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                   const GroupNormOptions& options)>
    group_norm_apply{"group_norm_apply"};
// dx, dweight, dbias may each be undefined: not wanted; each is overwritten. What stood before the activation is computed
// again.
inline Kernel<void(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options)>
    group_norm_backward{"group_norm_backward"};

template <class F> void for_each_norm_slot(F&& f) {
  f(layer_norm_forward), f(layer_norm_backward), f(group_norm_forward), f(group_norm_apply), f(group_norm_backward);
}

}  // namespace relume::kernels
