#include "autograd/reduce.h"

#include "tensor/kernels/reduce.h"

namespace relume {

Tensor sum(const Tensor& x) {
  RELUME_CHECK(is_float(x.dtype()), "sum: expects a float tensor, got ", x);
  Tensor y = Tensor::empty({}, x.dtype(), x.device());
  kernels::sum.on(x.device())(y, x);
  return record("sum", y, {x}, [shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    const Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::sum_backward.on(dy.device())(dx, dy);
    return {dx};
  });
}

Tensor sum_squared_error(const Tensor& x, const Tensor& target) {
  RELUME_CHECK(x.shape() == target.shape() && x.dtype() == target.dtype() && is_float(x.dtype()), "sum_squared_error: ", x,
               " and ", target, " differ");
  Tensor y = Tensor::empty({}, x.dtype(), x.device());
  kernels::squared_error.on(x.device())(y, x, target);
  return record("sum_squared_error", y, {x, target},
                [x = saved(x), target = saved(target)](const Tensor& dy, const Needs& needs) -> Grads {
                  const auto towards = [&](const Tensor& a, const Tensor& b) {
                    Tensor da = empty_like(a);
                    kernels::squared_error_backward.on(dy.device())(da, dy, a, b);
                    return da;
                  };
                  return {needs(0) ? towards(x, target) : Tensor(), needs(1) ? towards(target, x) : Tensor()};
                });
}

}  // namespace relume
