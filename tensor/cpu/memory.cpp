#include "tensor/kernels/memory.h"

#include <cstring>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/scalar/convert.h"

namespace relume::cpu {
namespace {

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

void copy_bytes(const Tensor& out, const Tensor& x) {
  const int64_t size = size_of(x.dtype());
  char *to = static_cast<char*>(out.raw()), *from = static_cast<char*>(x.raw());
  pieces_of(out, x).visit_all([&](int64_t row, int64_t begin, int64_t end) {
    std::memcpy(to + (row * out.pitch() + begin) * size, from + (row * x.pitch() + begin) * size, size_t((end - begin) * size));
  });
}

void copy(const Tensor& out, const Tensor& x) {
  if (out.dtype() == x.dtype()) return copy_bytes(out, x);
  visit_type(out.dtype(), [&]<class To>() {
    visit_type(x.dtype(), [&]<class From>() {
      const Strided<To> target(out);
      const Strided<From> source(x);
      pieces_of(out, x).visit_all([&](int64_t row, int64_t begin, int64_t end) {
        To* to = target.at(row, 0);
        const From* from = source.at(row, 0);
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) convert(to[i], from[i]);
      });
    });
  });
}

void fill(const Tensor& out, double value) {
  visit_type(out.dtype(), [&]<class T>() {
    T element;
    convert(element, value);
    const Strided<T> to(out);
    pieces_of(out).visit_all(
        [&](int64_t row, int64_t begin, int64_t end) { std::fill(to.at(row, begin), to.at(row, end), element); });
  });
}

}  // namespace

void register_memory_kernels() {
  kernels::copy.set(DeviceKind::cpu, copy);
  kernels::fill.set(DeviceKind::cpu, fill);
  kernels::transfer.set(DeviceKind::cpu, copy);
}

}  // namespace relume::cpu
