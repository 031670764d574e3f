#include "autograd/reduce.h"

#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/reduce.h"

namespace relume {

Tensor sum(const Tensor& x) {
  RELUME_CHECK(is_float(x.dtype()), "sum: expects a float tensor, got ", x);
  Tensor y = Tensor::empty({}, x.dtype(), x.device());
  kernels::sum.on(x.device())(y, x);
  return record("sum", y, {x}, [shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    return {Tensor::full(shape, dy.item(), dy.dtype(), dy.device())};
  });
}

Tensor sum_squared_error(const Tensor& x, const Tensor& target) {
  RELUME_CHECK(x.shape() == target.shape() && x.dtype() == target.dtype() && is_float(x.dtype()), "sum_squared_error: ", x,
               " and ", target, " differ");
  Tensor y = Tensor::empty({}, x.dtype(), x.device());
  kernels::squared_error.on(x.device())(y, x, target);
  return record("sum_squared_error", y, {x, target},
                [x = saved(x), target = saved(target)](const Tensor& dy, const Needs& needs) -> Grads {
                  const auto towards = [&](double sign) {
                    Tensor g = empty_like(x.get());
                    const double factor = 2 * sign * dy.item();
                    kernels::axpby.on(g.device())(g, factor, x, -factor, target);
                    return g;
                  };
                  return {needs(0) ? towards(1) : Tensor(), needs(1) ? towards(-1) : Tensor()};
                });
}

}  // namespace relume
