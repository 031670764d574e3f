// Slots that move and fill data. Tensors are dense or pitched (dense rows with one row pitch, see tensor/core/tensor.h).
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/repeated_function.h"
#include "tensor/core/tensor.h"
#include "tensor/core/uploads.h"

namespace relume::kernels {

// out = x, element by element, converting when the dtypes differ (floats to u8 are clamped to 0..255 and rounded half to even;
// f32 to 16 bits rounds to nearest even). Any pair of dtypes, same shape, same device.
inline Kernel<void(const Tensor& out, const Tensor& x)> copy{"copy"};

// out = value everywhere, any dtype.
inline Kernel<void(const Tensor& out, double value)> fill{"fill"};

// A dense copy on another device. `on` is the CUDA side when either is CUDA.
inline Kernel<void(const Tensor& out, const Tensor& x)> transfer{"transfer", Operands::anywhere};

// The way of batches to the device. On the CPU they stay what they are.
inline Kernel<std::unique_ptr<Uploads>(Device device)> uploads{"uploads"};

// f, which takes and gives tensors of the device, as a function of tensors that lie there or on the CPU. It computes nothing
// but its result, does the same for all tensors of the same shapes and types, and is called without gradients. Where these come
// several times in a row, a GPU captures what f does as a graph and replays that: the same bits, in memory that stays in use
// until others come.
inline Kernel<std::unique_ptr<RepeatedFunction>(Device device, RepeatedFunction::Function f)> repeated{"repeated"};

template <class F> void for_each_memory_slot(F&& f) { f(copy), f(fill), f(transfer), f(uploads), f(repeated); }

}  // namespace relume::kernels
