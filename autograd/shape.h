// Differentiable views and joins.
#pragma once

#include "autograd/graph.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape);          // the same data in row-major order
Tensor columns(const Tensor& x, int64_t begin, int64_t end);  // [..., begin:end], a view
Tensor concatenate(const Tensor& x, const Tensor& y);         // [..., A] and [..., B] side by side, [..., A + B]

}  // namespace relume
