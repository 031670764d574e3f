// Slots that fill tensors with random numbers (design D5): element i uses word i mod 4 of Philox block i / 4 (normals: pair
// (u0, u1) or (u2, u3) of the block gives elements i, i+1 by Box-Muller), so the result does not depend on threads or device.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/philox.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// out = low + (high - low) * u, u = philox_uniform(word) in [0, 1). f32 and f64, dense.
inline Kernel<void(const Tensor& out, double low, double high, const RandomKey& key)> fill_uniform{"fill_uniform"};
// out = mean + stddev * N(0, 1). f32 and f64, dense.
inline Kernel<void(const Tensor& out, double mean, double stddev, const RandomKey& key)> fill_normal{"fill_normal"};

template <class F> void for_each_random_slot(F&& f) { f(fill_uniform), f(fill_normal); }

}  // namespace relume::kernels
