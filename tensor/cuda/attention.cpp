// The first half of a Swin block: linear maps with norm and residual, and between them the attention of window_attention.cu.
#include "tensor/kernels/attention.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/window_attention.h"
#include "tensor/kernels/elementwise.h"

namespace relume::cuda {
namespace {

using kernels::ResidualWindowAttention, kernels::ResidualWindowAttentionGradients;

Tensor with_channels(const Tensor& x, int64_t channels) {
  return Tensor::empty(x.shape().with(-1, channels), x.dtype(), x.device());
}

// Queries, keys and values, and what attention makes of them.
struct Attended {
  Attended(const Tensor& x, const ResidualWindowAttention& a, const kernels::RowNorm& norm, const Tensor& lse)
      : qkv(with_channels(x, 3 * x.shape(3))), rows(with_channels(x, x.shape(3))) {
    kernels::linear_forward.on(x.device())(qkv, x, a.qkv_weight, a.qkv_bias, norm, {});
    window_attention_forward(rows, lse, qkv, a.table, a.options);
  }
  Tensor qkv, rows;
};

void forward(const Tensor& y, const Tensor& x, const ResidualWindowAttention& a) {
  const Attended attended(x, a, a.norm, a.lse);
  kernels::linear_forward.on(x.device())(y, attended.rows, a.proj_weight, a.proj_bias, {},
                                         {.sample_scale = a.sample_scale, .residual = x});
}

void backward(const ResidualWindowAttentionGradients& g, const Tensor& dy, const Tensor& x, const ResidualWindowAttention& a) {
  const Device device = x.device();
  const Attended attended(x, a, {a.norm.weight, a.norm.bias, a.norm.eps}, {});
  const Tensor dattended = empty_like(attended.rows), dqkv = empty_like(attended.qkv);
  kernels::linear_backward.on(device)({dattended, g.dproj_weight, g.dproj_bias, {}, {}}, dy, attended.rows, a.proj_weight, {},
                                      {.sample_scale = a.sample_scale});
  window_attention_backward(dqkv, g.dtable, dattended, attended.rows, a.lse, attended.qkv, a.table, a.options);
  kernels::linear_backward.on(device)({g.dx, g.dqkv_weight, g.dqkv_bias, g.dnorm_weight, g.dnorm_bias}, dqkv, x, a.qkv_weight,
                                      a.norm, {});
  if (g.dx) kernels::axpby.on(device)(g.dx, 1, g.dx, 1, dy);
}

}  // namespace

void register_attention_kernels() {
  kernels::residual_window_attention_forward.set(DeviceKind::cuda, forward);
  kernels::residual_window_attention_backward.set(DeviceKind::cuda, backward);
}

}  // namespace relume::cuda
