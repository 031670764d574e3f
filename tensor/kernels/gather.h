// Slots that take rows of a table by their numbers: embeddings.
#pragma once

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// y[i, :] = table[ids[i], :] with table [R, C], ids i64 [...] and y [..., C]. Rows of table and y are dense or pitched, ids
// dense. An id that is no row of the table is an InputError on the CPU; on a device, where nobody waits for it, it gives NaN.
inline Kernel<void(const Tensor& y, const Tensor& table, const Tensor& ids)> gather_rows{"gather_rows"};
// Its gradient, overwritten: dtable[r, :] = the sum of dy[i, :] over all i with ids[i] = r, in their order; 0 where there are
// none. Accumulates in f32 or better.
inline Kernel<void(const Tensor& dtable, const Tensor& dy, const Tensor& ids)> scatter_add_rows{"scatter_add_rows"};

template <class F> void for_each_gather_slot(F&& f) { f(gather_rows), f(scatter_add_rows); }

}  // namespace relume::kernels
