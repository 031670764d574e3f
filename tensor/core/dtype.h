// Element types. f32 is the working type; f64 exists on the CPU for tests and references; f16 and bf16 are storage on the CPU
// (widened inside kernels) and compute types on CUDA; u8 holds pictures, i32 and i64 indices; boolean is what files of others
// hold, storage only, a byte of 0 or 1. No operation changes a dtype silently: Tensor::to(DType) is the only conversion (design
// D3, D6).
#pragma once

#include <cstdint>
#include <ostream>

#include "tensor/core/half.h"

namespace relume {

enum class DType : uint8_t { f32, f64, f16, bf16, u8, i32, i64, boolean };

constexpr int64_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u8:
    case DType::boolean: return 1;
  }
  return 0;
}
constexpr const char* name_of(DType t) {
  switch (t) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::u8: return "u8";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::boolean: return "bool";
  }
  return "?";
}
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16; }
inline std::ostream& operator<<(std::ostream& out, DType t) { return out << name_of(t); }

// C++ type -> DType; undefined for types that no tensor holds.
template <class T> struct DTypeOf;
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<Float16> { static constexpr DType value = DType::f16; };
template <> struct DTypeOf<BFloat16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<uint8_t> { static constexpr DType value = DType::u8; };
template <> struct DTypeOf<int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <class T> inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace relume
