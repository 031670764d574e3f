#include "autograd/shape.h"

#include "tensor/kernels/memory.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape) {
  return record("reshape", x.contiguous().reshape(shape), {x},
                [before = x.shape()](const Tensor& dy, const Needs&) -> Grads { return {dy.contiguous().reshape(before)}; });
}

Tensor columns(const Tensor& x, int64_t begin, int64_t end) {
  RELUME_CHECK(x.rank() >= 1 && 0 <= begin && begin < end && end <= x.shape(-1), "columns: ", begin, " to ", end, " of ", x,
               " given; expected a range within its last axis");
  return record("columns", x.columns(begin, end), {x},
                [begin, end, shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
                  const Tensor dx = Tensor::zeros(shape, dy.dtype(), dy.device());
                  kernels::copy.on(dy.device())(dx.columns(begin, end), dy);
                  return {dx};
                });
}

Tensor concat(const Tensor& x, const Tensor& y) {
  RELUME_CHECK(x.rank() >= 1 && y.rank() == x.rank() && x.shape().with(-1, y.shape(-1)) == y.shape() &&
                   x.dtype() == y.dtype() && x.device() == y.device(),
               "concat: ", x, " and ", y, " given; expected tensors of one type that differ in their last axis alone");
  const int64_t first = x.shape(-1), both = first + y.shape(-1);
  Tensor out = Tensor::empty(x.shape().with(-1, both), x.dtype(), x.device());
  kernels::copy.on(x.device())(out.columns(0, first), x);
  kernels::copy.on(x.device())(out.columns(first, both), y);
  return record("concat", out, {x, y}, [first, both](const Tensor& dy, const Needs& needs) -> Grads {
    return {needs(0) ? dy.columns(0, first) : Tensor(), needs(1) ? dy.columns(first, both) : Tensor()};
  });
}

}  // namespace relume
