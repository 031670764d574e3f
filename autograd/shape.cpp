#include "autograd/shape.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape) {
  return record("reshape", x.contiguous().reshape(shape), {x},
                [before = x.shape()](const Tensor& dy, const Needs&) -> Grads { return {dy.contiguous().reshape(before)}; });
}

Tensor columns(const Tensor& x, int64_t begin, int64_t end) {
  return record("columns", x.columns(begin, end), {x},
                [begin, end, before = x.shape()](const Tensor& dy, const Needs&) -> Grads {
                  const Tensor dx = Tensor::zeros(before, dy.dtype(), dy.device());
                  dx.columns(begin, end).copy_from(dy);
                  return {dx};
                });
}

Tensor concatenate(const Tensor& x, const Tensor& y) {
  RELUME_CHECK(x.rank() >= 1 && x.rank() == y.rank() && x.shape().with(-1, y.shape(-1)) == y.shape() &&
                   x.dtype() == y.dtype() && x.device() == y.device(),
               "concatenate: ", x, " and ", y, " given; expected tensors that differ in the last axis alone");
  const int64_t first = x.shape(-1), all = first + y.shape(-1);
  Tensor joined = Tensor::empty(x.shape().with(-1, all), x.dtype(), x.device());
  joined.columns(0, first).copy_from(x);
  joined.columns(first, all).copy_from(y);
  return record("concatenate", joined, {x, y}, [first, all](const Tensor& dy, const Needs& needs) -> Grads {
    return {needs(0) ? dy.columns(0, first) : Tensor(), needs(1) ? dy.columns(first, all) : Tensor()};
  });
}

}  // namespace relume
