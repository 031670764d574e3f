// From a DType to its C++ type.
#pragma once

#include "tensor/core/dtype.h"

namespace relume {

// Calls f.operator()<T>() with any element type.
template <class F> void visit_type(DType type, F&& f) {
  switch (type) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::f16: return f.template operator()<Float16>();
    case DType::bf16: return f.template operator()<BFloat16>();
    case DType::u8: return f.template operator()<uint8_t>();
    case DType::i32: return f.template operator()<int32_t>();
    case DType::i64: return f.template operator()<int64_t>();
    case DType::boolean: return f.template operator()<bool>();
  }
}

}  // namespace relume
