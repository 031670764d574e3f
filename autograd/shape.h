// Differentiable views, and tensors joined to one.
#pragma once

#include "autograd/graph.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape);          // the same data in row-major order
Tensor columns(const Tensor& x, int64_t begin, int64_t end);  // x[..., begin:end], a view
Tensor concat(const Tensor& x, const Tensor& y);              // [..., A] and [..., B] to [..., A + B], a copy of both

}  // namespace relume
