#include "autograd/matmul.h"

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/matmul.h"

namespace relume {

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const LinearOptions& o) {
  RELUME_CHECK(
      w.rank() == 2 && x.rank() >= 1 && x.shape(-1) == w.shape(1) && x.dtype() == w.dtype() && x.device() == w.device(),
      "linear: input ", x, " does not fit weight ", w, " (expected [..., ", w.rank() == 2 ? w.shape(1) : -1, "])");
  RELUME_CHECK(!bias || (bias.rank() == 1 && bias.shape(0) == w.shape(0) && bias.dtype() == w.dtype()), "linear: bias ", bias,
               " does not fit weight ", w);
  const Shape shape = x.shape().with(-1, w.shape(0));
  RELUME_CHECK(!o.residual || (o.residual.shape() == shape && o.residual.dtype() == x.dtype()), "linear: residual ", o.residual,
               ", expected ", shape);
  RELUME_CHECK(!o.sample_scale || (o.sample_scale.shape() == Shape{x.shape(0)} && o.sample_scale.dtype() == DType::f32),
               "linear: sample_scale ", o.sample_scale, ", expected f32 [", x.shape(0), "]");
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const bool keep = o.act.kind != ActivationKind::none && recording({x, w, bias});
  const Tensor pre = keep ? empty_like(y) : Tensor();
  kernels::linear_forward.on(x.device())(y, x, w, bias, {o.act, pre, o.sample_scale, o.residual});
  return record("linear", y, {x, w, bias, o.residual},
                [x = saved(x), w = saved(w), pre = saved(pre), act = o.act, scale = o.sample_scale](
                    const Tensor& dy, const Needs& needs) -> Grads {
                  Tensor dz = dy;  // towards x w^T + bias
                  if (scale) {
                    dz = empty_like(dy);
                    kernels::add_scaled.on(dy.device())(dz, {}, dy, scale);
                  }
                  if (pre) {
                    const Tensor dact = dz;
                    dz = scale ? dz : empty_like(dy);
                    kernels::activation_backward.on(dy.device())(dz, dact, pre, act);
                  }
                  Tensor dx, dw, db;
                  if (needs(0)) {
                    dx = Tensor::empty(x.get().shape(), dy.dtype(), dy.device());
                    kernels::linear_backward_data.on(dy.device())(dx, dz, w);
                  }
                  if (needs(1)) {
                    dw = empty_like(w.get());
                    if (needs(2)) db = Tensor::empty({w.get().shape(0)}, dy.dtype(), dy.device());
                    kernels::linear_backward_weight.on(dy.device())(dw, db, dz, x);
                  } else if (needs(2)) {
                    db = Tensor::empty({w.get().shape(0)}, dy.dtype(), dy.device());
                    kernels::sum_rows.on(dy.device())(db, dz);
                  }
                  return {dx, dw, db, needs(3) ? dy : Tensor()};
                });
}

}  // namespace relume
