#include "layers/norm.h"

namespace relume {

Tensor GroupNorm::stats(const Tensor& x) const {
  return with_path([&] {
    RELUME_CHECK(x.rank() == 4 && x.numel() > 0 && x.shape(3) == weight.shape(0), "GroupNorm: ", x,
                 " given, expected [N, H, W, ", weight.shape(0), "]");
    const DType statistic = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
    const Tensor stats = Tensor::empty({x.shape(0), options_.groups, 2}, statistic, x.device());
    kernels::group_norm_forward.on(x.device())({}, stats, x, {}, {}, options_);
    return stats;
  });
}

void GroupNorm::apply(const Tensor& y, const Tensor& x, const Tensor& stats) const {
  with_path([&] {
    RELUME_CHECK(x.rank() == 4 && x.shape(3) == weight.shape(0) && y.shape() == x.shape(), "GroupNorm: ", x, " to ", y,
                 " given, expected [N, H, W, ", weight.shape(0), "]");
    RELUME_CHECK(stats.shape() == (Shape{x.shape(0), options_.groups, 2}), "GroupNorm: statistics ", stats,
                 " given, expected [", x.shape(0), ", ", options_.groups, ", 2]");
    const NoGrad no_grad;
    kernels::group_norm_apply.on(x.device())(y, x, stats, parameter_for(x, weight), parameter_for(x, bias), options_);
    return y;
  });
}

}  // namespace relume
