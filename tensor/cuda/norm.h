// Layer norm of rows, for the kernels that have one in front: the slots of tensor/kernels/norm.h with the name of who asks.
#pragma once

#include "tensor/core/tensor.h"

namespace relume::cuda {

void normalise(const char* name, const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight,
               const Tensor& bias, double eps);
// `added`, like dx, is added to dx unless undefined.
void normalise_backward(const char* name, const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy,
                        const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& added);

}  // namespace relume::cuda
