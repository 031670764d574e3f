// Matrix products through cuBLASLt. The library counts columns first: rows of ours are its columns, a matrix is seen
// transposed, and out = left right is asked for as out^T = right^T left^T.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <string>

#include "tensor/core/tensor.h"

namespace relume::cuda {

// A factor of a product: a tensor's rows as a matrix, or that matrix transposed.
struct Factor {
  Factor(const Tensor& t, bool is_transposed = false) : tensor(t), transposed(is_transposed) {}
  Tensor tensor;
  bool transposed;
};
inline Factor transposed(const Tensor& t) { return {t, true}; }

// out = left right + bias + added, accumulated in f32; factors in f32 are rounded where rounds_to_tf32() says so. The factors
// are of one type, f32, f16 or bf16; out is of that type or f32. Undefined or: bias, one number per column, of out's type;
// added, like out, may be out itself. The same bits in every run: an algorithm is chosen once for every kind of product, and
// none that adds the parts of a sum in the result itself is allowed (matmul_tuning.h says what timing means for this).
void multiply(const char* name, const Tensor& out, const Factor& left, const Factor& right, const Tensor& bias = {},
              const Tensor& added = {});

// How often the library was asked for an algorithm: once for every kind of product.
int64_t heuristics_asked();

// ---- The library's objects --------------------------------------------------------------------------------------------------

// Throws an Error that names the call and what cuBLASLt says.
void check(cublasStatus_t result, const std::string& call);

template <auto destroy> struct Destroy {
  template <class T> void operator()(T* object) const { destroy(object); }
};
using MatrixLayout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy<cublasLtMatrixLayoutDestroy>>;
using MatmulOperation = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy<cublasLtMatmulDescDestroy>>;
using MatmulPreference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy<cublasLtMatmulPreferenceDestroy>>;

// The device's handle, which lives as long as the process.
cublasLtHandle_t cublaslt_handle(Device device);
// Of rows that are `pitch` elements apart.
MatrixLayout matrix_layout(DType type, int64_t rows, int64_t columns, int64_t pitch);
// a and b are the library's; a null bias is none. tf32: floats may be rounded to it.
MatmulOperation matmul_operation(bool transpose_a, bool transpose_b, const void* bias, bool tf32 = false);

}  // namespace relume::cuda
