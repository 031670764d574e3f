// Differentiable views.
#pragma once

#include "autograd/graph.h"

namespace relume {

Tensor reshape(const Tensor& x, const Shape& shape);  // the same data in row-major order

}  // namespace relume
