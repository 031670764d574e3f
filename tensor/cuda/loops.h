// Pointwise loops of the device: 16-bit elements widened to float, 16 bytes at a time where rows allow it, rows one pitch
// apart, 64-bit indices.
#pragma once

#include <algorithm>
#include <type_traits>

#include "tensor/core/tensor.h"
#include "tensor/cuda/context.h"
#include "tensor/cuda/device.h"

namespace relume::cuda {

__device__ inline float get(float x) { return x; }
__device__ inline float get(Float16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ inline float get(BFloat16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
__device__ inline void put(float& to, float x) { to = x; }
__device__ inline void put(Float16& to, float x) { to.bits = __half_as_ushort(__float2half_rn(x)); }
__device__ inline void put(BFloat16& to, float x) { to.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x)); }

// Calls f.operator()<T>() with the element type of a tensor the device computes with.
template <class F> void visit_float(const char* slot, const Tensor& t, F&& f) {
  switch (t.dtype()) {
    case DType::f32: return f.template operator()<float>();
    case DType::f16: return f.template operator()<Float16>();
    case DType::bf16: return f.template operator()<BFloat16>();
    default: RELUME_CHECK(false, slot, ": on ", t.device(), " expects f32, f16 or bf16, got ", t);
  }
}

// N elements that are read and written at once.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };
template <class T> inline constexpr int pack_size = 16 / int(sizeof(T));

inline int64_t columns_of(const Tensor& t) { return t.rank() == 0 ? 1 : t.shape(-1); }

// Rows of a tensor as a kernel sees them.
template <class T> struct Rows {
  explicit Rows(const Tensor& t) : data(t.data<T>()), pitch(t.pitch()) {}
  __device__ T* at(int64_t row, int64_t column) const { return data + row * pitch + column; }
  T* data;
  int64_t pitch;
};

// The same of a tensor that may be undefined: data is null then.
template <class T> struct MaybeRows {
  explicit MaybeRows(const Tensor& t) : data(t ? t.data<T>() : nullptr), pitch(t ? t.pitch() : 0) {}
  __device__ T* at(int64_t row, int64_t column) const { return data + row * pitch + column; }
  T* data;
  int64_t pitch;
};

// Whether packs of N elements lie on their boundaries in every row.
template <class T, int N> bool packs_fit(const Tensor& t, bool one_row) {
  return reinterpret_cast<uintptr_t>(t.raw()) % (sizeof(T) * N) == 0 && (one_row || t.pitch() % N == 0);
}

inline constexpr int loop_threads = 256;

// Blocks for `items` of which each thread takes one after another: enough to fill the device a few times over.
inline dim3 loop_grid(int64_t items, Device device) {
  return dim3(unsigned(std::clamp<int64_t>((items + loop_threads - 1) / loop_threads, 1, 8 * multiprocessors(device))));
}

// f(i) for every i below count that falls to this thread.
template <class F> __device__ inline void for_each_item(int64_t count, F&& f) {
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += int64_t(gridDim.x) * blockDim.x) f(i);
}

// f of the elements of packs, one after another.
template <class T, int N, class F, class... Packs> __device__ inline Pack<T, N> combined(F f, const Packs&... packs) {
  Pack<T, N> y;
  for (int k = 0; k < N; ++k) put(y.at[k], f(get(packs.at[k])...));
  return y;
}

template <int N, class T, class F, class... In>
static __global__ void pointwise(int64_t rows, int64_t columns, Rows<T> out, F f, In... in) {
  const int64_t packs = (columns + N - 1) / N;
  for_each_item(rows * packs, [&](int64_t i) {
    const int64_t row = rows == 1 ? 0 : i / packs, column = (i - row * packs) * N;
    if (N > 1 && column + N <= columns) {
      *reinterpret_cast<Pack<T, N>*>(out.at(row, column)) =
          combined<T, N>(f, *reinterpret_cast<const Pack<T, N>*>(in.at(row, column))...);
    } else {
      for (int64_t c = column; c < std::min(column + N, columns); ++c) put(*out.at(row, c), f(get(*in.at(row, c))...));
    }
  });
}

// out = f(in...), element by element in float; tensors of one shape, dense or pitched.
template <class T, class F, class... In> void for_elements(const char* name, F f, const Tensor& out, const In&... in) {
  if (out.numel() == 0) return;
  RELUME_BUG(((in.numel() == out.numel()) && ...), name, ": tensors of different sizes, the first is ", out);
  const bool one_row = out.is_dense() && (in.is_dense() && ...);
  const int64_t rows = one_row ? 1 : out.rows(), columns = one_row ? out.numel() : columns_of(out);
  constexpr int N = pack_size<T>;
  const bool packed = packs_fit<T, N>(out, one_row) && (packs_fit<T, N>(in, one_row) && ...);
  const auto run = [&](auto width) {
    constexpr int n = decltype(width)::value;
    launch(name, pointwise<n, T, F, std::conditional_t<true, Rows<T>, In>...>,
           loop_grid(rows * ((columns + n - 1) / n), out.device()), loop_threads, 0, stream(out.device()), rows, columns,
           Rows<T>(out), f, Rows<T>(in)...);
  };
  packed ? run(std::integral_constant<int, N>{}) : run(std::integral_constant<int, 1>{});
}

}  // namespace relume::cuda
