// Differentiable choice of rows.
#pragma once

#include "autograd/graph.h"

namespace relume {

// y [..., C]: the row ids[...] of the table [R, C] for each id. ids: i64 on the table's device, each in [0, R); another is an
// InputError on the CPU and gives NaN on a GPU. Towards the table alone; saves ids. The gradient is the same in every run.
Tensor embedding(const Tensor& ids, const Tensor& table);

}  // namespace relume
