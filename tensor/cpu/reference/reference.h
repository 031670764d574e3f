// Plain f64 kernels, straight from the definitions: what the CPU runs for f64, and the oracle of every fast kernel. Signatures
// are those of the slots in tensor/kernels. They share no code with the fast ones.
#pragma once

#include "tensor/kernels/all.h"

namespace relume::cpu::reference {

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::RowNorm& norm,
                    const kernels::LinearEpilogue& epilogue);
void linear_backward(const kernels::LinearGradients& gradients, const Tensor& dy, const Tensor& x, const Tensor& w,
                     const kernels::RowNorm& norm, const kernels::LinearEpilogue& epilogue);
void residual_mlp_forward(const Tensor& y, const Tensor& x, const kernels::ResidualMlp& mlp);
void residual_mlp_backward(const kernels::ResidualMlpGradients& gradients, const Tensor& dy, const Tensor& x,
                           const kernels::ResidualMlp& mlp);

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                    const kernels::ConvEpilogue& epilogue);
void conv2d_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w, const kernels::ConvOptions& options);
void conv2d_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x,
                            const kernels::ConvOptions& options);

void gather_rows(const Tensor& y, const Tensor& table, const Tensor& ids);
void scatter_add_rows(const Tensor& dtable, const Tensor& dy, const Tensor& ids);

void sum(const Tensor& out, const Tensor& x);
void squared_error(const Tensor& out, const Tensor& a, const Tensor& b);

void layer_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        double eps);
void layer_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight);
void group_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const kernels::GroupNormOptions& options);
void group_norm_apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                      const kernels::GroupNormOptions& options);
void group_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight, const Tensor& bias,
                         const kernels::GroupNormOptions& options);

void upsample_nearest_forward(const Tensor& y, const Tensor& x, int factor);
void upsample_nearest_backward(const Tensor& dx, const Tensor& dy, int factor);
void pixel_unshuffle(const Tensor& y, const Tensor& x, int factor);
void pixel_shuffle(const Tensor& y, const Tensor& x, int factor);
void pad_forward(const Tensor& y, const Tensor& x, int64_t top, int64_t left, kernels::Border border);
void pad_backward(const Tensor& dx, const Tensor& dy, int64_t top, int64_t left, kernels::Border border);

}  // namespace relume::cpu::reference
