#include "autograd/shape.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape) {
  return record("reshape", x.contiguous().reshape(shape), {x},
                [before = x.shape()](const Tensor& dy, const Needs&) -> Grads { return {dy.contiguous().reshape(before)}; });
}

}  // namespace relume
