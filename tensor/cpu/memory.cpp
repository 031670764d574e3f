#include "tensor/kernels/memory.h"

#include <cstring>

#include "tensor/core/visit_type.h"
#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/scalar/convert.h"

namespace relume::cpu {
namespace {

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
