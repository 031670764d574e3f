#include "autograd/norm.h"

#include "tensor/kernels/norm.h"

namespace relume {

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  RELUME_CHECK(
      x.rank() >= 1 && weight.shape() == Shape{x.shape(-1)} && bias.shape() == weight.shape() && weight.dtype() == x.dtype(),
      "layer_norm: weight ", weight, " and bias ", bias, " do not fit the last axis of ", x);
  Tensor y = empty_like(x);
  const bool keep = recording({x, weight, bias});
  const Tensor stats =
      keep ? Tensor::empty({x.rows(), 2}, x.dtype() == DType::f64 ? DType::f64 : DType::f32, x.device()) : Tensor();
  kernels::layer_norm_forward.on(x.device())(y, stats, x, weight, bias, eps);
  return record("layer_norm", y, {x, weight, bias},
                [x = saved(x), stats = saved(stats), weight = saved(weight)](const Tensor& dy, const Needs& needs) -> Grads {
                  const Tensor dx = needs(0) ? empty_like(x.get()) : Tensor(),
                               dweight = needs(1) ? empty_like(weight.get()) : Tensor(),
                               dbias = needs(2) ? empty_like(weight.get()) : Tensor();
                  kernels::layer_norm_backward.on(dy.device())(dx, dweight, dbias, dy, x, stats, weight);
                  return {dx, dweight, dbias};
                });
}

}  // namespace relume
