// The gradient of a convolution's weight as matrix products over strips of the map. cuDNN's engines that neither use tensor
// cores nor give other bits in another run go through all pixels once for each tile of the weight: where the weight is small
// and the map large, most of the device has nothing to do.
#pragma once

#include "tensor/kernels/conv.h"

namespace relume::cuda {

// Whether that is so: for floats in full, few tiles and many pixels.
bool strips_suit(const Tensor& dw, const Tensor& dy);

// dw [O, kh, kw, I] of dy [N, H', W', O] and x [N, H, W, I], all f32, dense or pitched. The pixels that a strip's products read
// are gathered in scratch memory of `bytes` at most, one row at least.
void weight_gradient_in_strips(const Tensor& dw, const Tensor& dy, const Tensor& x, const kernels::ConvOptions& options,
                               int64_t bytes = 64 << 20);

}  // namespace relume::cuda
