#include "autograd/norm.h"

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

Tensor group_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options) {
  RELUME_CHECK(is_float(x.dtype()) && x.rank() >= 2 && x.numel() > 0, "group_norm: ", x,
               " given; expected a float tensor [N, ..., C] that is not empty");
  RELUME_CHECK(options.groups > 0 && x.shape(-1) % options.groups == 0, "group_norm: the channels of ", x,
               " cannot be divided into ", options.groups, " groups");
  RELUME_CHECK(weight.shape() == Shape{x.shape(-1)} && bias.shape() == weight.shape() && weight.dtype() == x.dtype() &&
                   bias.dtype() == x.dtype(),
               "group_norm: weight ", weight, " and bias ", bias, " do not fit the last axis of ", x);
  Tensor y = empty_like(x);
  const DType statistic = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor stats =
      recording({x, weight, bias}) ? Tensor::empty({x.shape(0), options.groups, 2}, statistic, x.device()) : Tensor();
  kernels::group_norm_forward.on(x.device())(y, stats, x, weight, bias, options);
  return record("group_norm", y, {x, weight, bias},
                [options, x = saved(x), stats = saved(stats), weight = saved(weight), bias = saved(bias)](
                    const Tensor& dy, const Needs& needs) -> Grads {
                  const Tensor dx = needs(0) ? empty_like(x.get()) : Tensor(),
                               dweight = needs(1) ? empty_like(weight.get()) : Tensor(),
                               dbias = needs(2) ? empty_like(bias.get()) : Tensor();
                  kernels::group_norm_backward.on(dy.device())(dx, dweight, dbias, dy, x, stats, weight, bias, options);
                  return {dx, dweight, dbias};
                });
}

}  // namespace relume
