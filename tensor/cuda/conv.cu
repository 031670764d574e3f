// Convolutions: cuDNN's, with the bias in its graph. Nearest enlargement in front, and activation and residual behind, are
// kernels of our own.
#include "tensor/kernels/conv.h"

#include "tensor/cuda/cudnn_conv.h"
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/memory.h"
#include "tensor/kernels/resample.h"

namespace relume::cuda {
namespace {

using kernels::ConvEpilogue;
using kernels::ConvOptions;

template <class F> struct ActivationPlus {
  F f;
  __device__ float operator()(float x, float add) const { return f.value(x) + add; }
};

// out = act(x) + residual; out may be either of them.
void finish(const Tensor& out, const Tensor& x, const ConvEpilogue& e) {
  if (!e.residual) return kernels::activation_forward.on(out.device())(out, x, e.act);
  visit_float("conv2d_forward", out, [&]<class T>() {
    visit_activation(e.act, [&]<class F>(F f) { for_elements<T>("conv2d_forward", ActivationPlus<F>{f}, out, x, e.residual); });
  });
}

// x is the enlarged map, or its gradient.
void convolve(ConvPass pass, const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& bias, const ConvOptions& o) {
  for (const Tensor& t : {w, y, bias})
    RELUME_CHECK(!t || t.dtype() == x.dtype(), slot_of(pass), ": ", t, " given with ", x,
                 "; expected one type, convert with to()");
  const Convolution c{.pass = pass,
                      .type = cudnn_type(slot_of(pass), x),
                      .x = GraphTensor(x),
                      .w = GraphTensor(w),
                      .y = GraphTensor(y),
                      .stride = {o.stride, o.stride},
                      .before = {o.top, o.left},
                      .after = {o.bottom, o.right},
                      .bias_alignment = bias ? alignment_of(bias.raw()) : 0,
                      .tf32 = rounds_to_tf32(x.dtype())};
  try {
    run(c, x.device(), {x.raw(), w.raw(), y.raw(), bias ? bias.raw() : nullptr});
  } catch (Error& e) {
    e.add_context(relume::detail::concat("in ", slot_of(pass), " between ", x, " and ", y, ", weight ", w.shape(), ", stride ",
                                         o.stride, ", padding ", o.top, " ", o.left, " ", o.bottom, " ", o.right));
    throw;
  }
}

Shape enlarged_shape(const Tensor& x, int factor) { return {x.shape(0), x.shape(1) * factor, x.shape(2) * factor, x.shape(3)}; }

Tensor enlarged(const Tensor& x, int factor) {
  if (factor == 1) return x;
  const Tensor large = Tensor::empty(enlarged_shape(x, factor), x.dtype(), x.device());
  kernels::upsample_nearest_forward.on(x.device())(large, x.contiguous(), factor);
  return large;
}

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& options,
                    const ConvEpilogue& epilogue) {
  if (y.numel() == 0) return;
  const bool finished_by_cudnn = epilogue.act.kind == ActivationKind::none && !epilogue.residual;
  // Where the residual lies in y, the sum must not be written over it.
  const bool aside = epilogue.residual && epilogue.residual.same_storage(y);
  const Tensor sum = aside ? Tensor::empty(y.shape(), y.dtype(), y.device()) : y;
  convolve(ConvPass::forward, enlarged(x, options.enlarge), w, sum, bias, options);
  if (!finished_by_cudnn) finish(y, sum, epilogue);
}

void conv2d_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w, const ConvOptions& options) {
  if (dx.numel() == 0) return;
  const bool plain = options.enlarge == 1;
  const Tensor large = plain ? dx : Tensor::empty(enlarged_shape(dx, options.enlarge), dx.dtype(), dx.device());
  convolve(ConvPass::backward_data, large, w, dy, {}, options);
  if (!plain) kernels::upsample_nearest_backward.on(dx.device())(dx, large, options.enlarge);
}

void conv2d_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x, const ConvOptions& options) {
  if (db) kernels::sum_rows.on(db.device())(db, dy);
  if (x.numel() == 0) return kernels::fill.on(dw.device())(dw, 0);
  convolve(ConvPass::backward_weight, enlarged(x, options.enlarge), dw, dy, {}, options);
}

}  // namespace

void register_conv_kernels() {
  kernels::conv2d_forward.set(DeviceKind::cuda, conv2d_forward);
  kernels::conv2d_backward_data.set(DeviceKind::cuda, conv2d_backward_data);
  kernels::conv2d_backward_weight.set(DeviceKind::cuda, conv2d_backward_weight);
}

}  // namespace relume::cuda
