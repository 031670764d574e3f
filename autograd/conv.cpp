#include "autograd/conv.h"

#include "autograd/elementwise.h"
#include "tensor/kernels/elementwise.h"

namespace relume {

namespace {

Shape output_shape(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& o) {
  RELUME_CHECK(x.rank() == 4 && w.rank() == 4, "conv2d: input ", x, " and weight ", w,
               " given; expected [N, H, W, I], [O, kh, kw, I]");
  RELUME_CHECK(x.shape(3) == w.shape(3), "conv2d: input ", x.shape(), " has ", x.shape(3), " channels, weight ", w.shape(),
               " expects ", w.shape(3));
  RELUME_CHECK(x.dtype() == w.dtype() && x.device() == w.device(), "conv2d: input ", x, " and weight ", w,
               " differ in dtype or device");
  RELUME_CHECK(!bias || bias.shape() == Shape{w.shape(0)}, "conv2d: bias ", bias, " does not fit weight ", w);
  RELUME_CHECK(o.stride >= 1 && o.enlarge >= 1 && std::min({o.top, o.left, o.bottom, o.right}) >= 0, "conv2d: stride ",
               o.stride, " or enlargement ", o.enlarge, " below 1, or negative padding");
  RELUME_CHECK(o.stride == 1 || o.enlarge == 1, "conv2d: a stride of ", o.stride, " and an enlargement by ", o.enlarge,
               " exclude each other");
  const int64_t height = x.shape(1) * o.enlarge + o.top + o.bottom - w.shape(1),
                width = x.shape(2) * o.enlarge + o.left + o.right - w.shape(2);
  RELUME_CHECK(height >= 0 && width >= 0, "conv2d: input ", x.shape(), " with its padding is smaller than the kernel ",
               w.shape());
  return {x.shape(0), height / o.stride + 1, width / o.stride + 1, w.shape(0)};
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& options, Activation act,
              const Tensor& residual) {
  const Shape shape = output_shape(x, w, bias, options);
  RELUME_CHECK(!residual || (residual.shape() == shape && residual.dtype() == x.dtype()), "conv2d: residual ", residual,
               ", expected ", shape);
  // The slope of (leaky) ReLU follows from its output, so nothing more need be kept; other activations, and any activation
  // under a residual, need what they were applied to and are recorded on their own.
  const bool from_output = act.kind == ActivationKind::leaky_relu && act.slope >= 0 && !residual;
  if (act.kind != ActivationKind::none && !from_output && recording({x, w, bias, residual})) {
    const Tensor activated = activate(conv2d(x, w, bias, options), act);
    return residual ? add(activated, residual) : activated;
  }
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  kernels::conv2d_forward.on(x.device())(y, x, w, bias, options, {act, residual});
  // The input is kept for the weight's gradient alone: a frozen network keeps none.
  return record("conv2d", y, {x, w, bias, residual},
                [x_shape = x.shape(), x = recording({w}) ? saved(x) : Saved({}), w = saved(w),
                 y = from_output ? saved(y) : Saved({}), act, options](const Tensor& dy, const Needs& needs) -> Grads {
                  Tensor dz = dy;  // towards the convolution's own output
                  if (y) {
                    dz = dy.is_sole_owner() && !needs(3) ? dy : empty_like(dy);  // in place when nobody else sees it
                    kernels::activation_backward.on(dy.device())(dz, dy, y, act);
                  }
                  Tensor dx, dw, db;
                  if (needs(0)) {
                    dx = Tensor::empty(x_shape, dy.dtype(), dy.device());
                    kernels::conv2d_backward_data.on(dy.device())(dx, dz, w, options);
                  }
                  if (needs(1)) {
                    dw = empty_like(w.get());
                    if (needs(2)) db = Tensor::empty({w.get().shape(0)}, dy.dtype(), dy.device());
                    kernels::conv2d_backward_weight.on(dy.device())(dw, db, dz, x, options);
                  } else if (needs(2)) {
                    db = Tensor::empty({w.get().shape(0)}, dy.dtype(), dy.device());
                    kernels::sum_rows.on(dy.device())(db, dz);
                  }
                  return {dx, dw, db, needs(3) ? dy : Tensor()};
                });
}

}  // namespace relume
