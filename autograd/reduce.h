// Differentiable reductions to one number, and the losses made of them.
#pragma once

#include "autograd/graph.h"

namespace relume {

Tensor sum(const Tensor& x);  // scalar []
Tensor sum_squared_error(const Tensor& x,
                         const Tensor& target);  // sum of (x - target)^2: stage one's loss (spec 2.2). Saves both

}  // namespace relume
