// Loops over the tensors of a call: 16-bit elements widened, dense data taken as one run, pitched data row by row, cut into
// pieces that do not depend on the number of threads.
#pragma once

#include <type_traits>
#include <utility>

#include "tensor/core/tensor.h"
#include "tensor/cpu/parallel.h"
#include "tensor/scalar/convert.h"

namespace relume::cpu {

inline constexpr int64_t grain = 32768;  // elements worth a thread's while: some 10 us of memory traffic

// The type a T is computed in.
template <class T> using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T> inline Wide<T> get(const T& from) { return Wide<T>(from); }
template <class T> inline void put(T& to, Wide<T> value) {
  if constexpr (is_16bit<T>)
    to.bits = T(value).bits;  // by member: g++ 12 does not vectorise the assignment of the struct
  else
    to = value;
}

// Calls f.operator()<T>() with the element type of a float tensor.
template <class F> void visit_float(const char* slot, const Tensor& t, F&& f) {
  switch (t.dtype()) {
    case DType::f32: return f.template operator()<float>();
    case DType::f64: return f.template operator()<double>();
    case DType::f16: return f.template operator()<Float16>();
    case DType::bf16: return f.template operator()<BFloat16>();
    default: RELUME_CHECK(false, slot, ": expects a float tensor, got ", t);
  }
}

// rows x columns cut into pieces of about `grain` elements: several whole rows, or a part of one.
class Pieces {
 public:
  Pieces(int64_t rows, int64_t columns)
      : rows_(columns > 0 ? rows : 0),
        columns_(columns),
        per_row_(columns > grain ? (columns + grain - 1) / grain : 1),
        rows_each_(columns > 0 ? std::max<int64_t>(1, grain / columns) : 1) {}
  int64_t count() const { return per_row_ * ((rows_ + rows_each_ - 1) / rows_each_); }

  // Calls f(row, begin, end) for the runs of columns of one piece.
  template <class F> void visit(int64_t piece, F&& f) const {
    if (per_row_ > 1) {
      const int64_t begin = piece % per_row_ * grain;
      return f(piece / per_row_, begin, std::min(columns_, begin + grain));
    }
    for (int64_t row = piece * rows_each_; row < std::min(rows_, (piece + 1) * rows_each_); ++row) f(row, int64_t(0), columns_);
  }
  template <class F> void visit_all(F&& f) const {
    parallel_for(count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t piece = begin; piece < end; ++piece) visit(piece, f);
    });
  }

 private:
  int64_t rows_, columns_, per_row_, rows_each_;
};

inline int64_t columns_of(const Tensor& t) { return t.rank() == 0 ? 1 : t.shape(-1); }

// Pieces of tensors of one shape: a single row when all of them are dense.
template <class... Tensors> Pieces pieces_of(const Tensor& first, const Tensors&... others) {
  RELUME_BUG(((others.numel() == first.numel()) && ...), "tensors of different sizes, the first is ", first);
  const bool dense = first.is_dense() && (others.is_dense() && ...);
  return dense ? Pieces(1, first.numel()) : Pieces(first.rows(), columns_of(first));
}

template <class T> struct Strided {
  explicit Strided(const Tensor& t) : data(t.data<T>()), pitch(t.pitch()) {}
  T* at(int64_t row, int64_t column) const { return data + row * pitch + column; }
  T* data;
  int64_t pitch;
};

// Calls f(n, out, inputs...) with pointers to runs of n elements, contiguous in every tensor.
template <class T, class F, class... Inputs> void for_runs(F&& f, const Tensor& out, const Inputs&... inputs) {
  const Pieces pieces = pieces_of(out, inputs...);
  const auto run = [&](Strided<T> o, auto... in) {
    pieces.visit_all([&](int64_t row, int64_t begin, int64_t end) __attribute__((flatten)) {  // else loops are not vectorised
      f(end - begin, o.at(row, begin), static_cast<const T*>(in.at(row, begin))...);
    });
  };
  run(Strided<T>(out), Strided<T>(inputs)...);
}

}  // namespace relume::cpu
