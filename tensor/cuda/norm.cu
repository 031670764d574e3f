#include "tensor/cuda/norm.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/row_sums.h"
#include "tensor/kernels/norm.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

// A warp takes a row. Where a row has no more than 32 * held columns its lanes hold it in registers, and memory is read once;
// held = 0 reads it again for each step.
constexpr int row_threads = 256, rows_together = row_threads / warp_size;
constexpr int most_held = 40, most_held_backward = 20;  // 1280 and 640 columns; more would spill

// The columns of this lane: f(k, column), k a constant where the row is held.
template <int held, class F> __device__ inline void for_lane(int64_t columns, F&& f) {
  const int lane = int(threadIdx.x) % warp_size;
  if constexpr (held > 0) {
    RELUME_UNROLL
    for (int k = 0; k < held; ++k)
      if (const int column = lane + k * warp_size; column < columns) f(k, int64_t(column));
  } else {
    for (int64_t column = lane; column < columns; column += warp_size) f(0, column);
  }
}

// A row of floats, held or read again.
template <int held, class T> struct Row {
  __device__ Row(const T* row, int64_t columns) : from(row) {
    if constexpr (held > 0) for_lane<held>(columns, [&](int k, int64_t c) { values[k] = get(from[c]); });
  }
  __device__ float operator()(int k, int64_t column) const {
    if constexpr (held > 0)
      return values[k];
    else
      return get(from[column]);
  }
  const T* from;
  float values[held > 0 ? held : 1];
};

template <int held, class T> static __global__ void norm_rows(int64_t rows, int64_t columns, Rows<T> y, float* stats, Rows<T> x,
                                                              const T* weight, const T* bias, float eps) {
  for (int64_t r = int64_t(blockIdx.x) * rows_together + threadIdx.x / warp_size; r < rows;
       r += int64_t(gridDim.x) * rows_together) {
    const Row<held, T> row(x.at(r, 0), columns);
    float sum = 0, squares = 0;
    for_lane<held>(columns, [&](int k, int64_t c) { sum += row(k, c); });
    const float mean = warp_sum(sum) / float(columns);
    for_lane<held>(columns, [&](int k, int64_t c) { squares = math::fma(row(k, c) - mean, row(k, c) - mean, squares); });
    const float rstd = 1 / math::sqrt(warp_sum(squares) / float(columns) + eps);
    T* const to = y.at(r, 0);
    for_lane<held>(columns,
                   [&](int k, int64_t c) { put(to[c], math::fma((row(k, c) - mean) * rstd, get(weight[c]), get(bias[c]))); });
    if (stats && threadIdx.x % warp_size == 0) stats[2 * r] = mean, stats[2 * r + 1] = rstd;
  }
}

// dx plus what is added to it, and in partial [chunks, 2, columns] what each block's rows give for the weight and the bias;
// each may be null.
template <int held, class T>
static __global__ void norm_rows_backward(int64_t rows, int64_t columns, MaybeRows<T> dx, MaybeRows<T> added, float* partial,
                                          Rows<T> dy, Rows<T> x, const float* stats, const T* weight, int64_t each) {
  float dw[held > 0 ? held : 1] = {}, db[held > 0 ? held : 1] = {};
  const int warp = int(threadIdx.x) / warp_size;
  const int64_t first = int64_t(blockIdx.x) * each, end = std::min(rows, first + each);
  for (int64_t r = first + warp; r < end; r += rows_together) {
    const Row<held, T> g(dy.at(r, 0), columns), row(x.at(r, 0), columns);
    const float mean = stats[2 * r], rstd = stats[2 * r + 1];
    float sum = 0, product = 0;
    for_lane<held>(columns, [&](int k, int64_t c) {
      const float normal = (row(k, c) - mean) * rstd, scaled = g(k, c) * get(weight[c]);
      sum += scaled, product = math::fma(scaled, normal, product);
      if constexpr (held > 0) dw[k] = math::fma(g(k, c), normal, dw[k]), db[k] += g(k, c);
    });
    if (!dx.data) continue;
    sum = warp_sum(sum) / float(columns), product = warp_sum(product) / float(columns);
    for_lane<held>(columns, [&](int k, int64_t c) {
      const float normal = (row(k, c) - mean) * rstd;
      const float gradient = rstd * (g(k, c) * get(weight[c]) - sum - normal * product);
      put(*dx.at(r, c), added.data ? gradient + get(*added.at(r, c)) : gradient);
    });
  }
  if constexpr (held > 0) {
    if (!partial) return;
    float* const shared = dynamic_shared<float>();  // [rows_together, 2, columns]
    for_lane<held>(columns, [&](int k, int64_t c) {
      shared[(warp * 2) * columns + c] = dw[k], shared[(warp * 2 + 1) * columns + c] = db[k];
    });
    sync_block();
    for (int64_t i = threadIdx.x; i < 2 * columns; i += row_threads) {
      float total = shared[i];
      for (int w = 1; w < rows_together; ++w) total += shared[w * 2 * columns + i];
      partial[blockIdx.x * 2 * columns + i] = total;
    }
  }
}

// Calls f(held) with the smallest number of registers that hold a row of so many columns, 0 where `most` are too few.
template <int most, class F> void with_held(int64_t columns, F&& f) {
  const int64_t each = (columns + warp_size - 1) / warp_size;
  if (each <= 1) return f(std::integral_constant<int, 1>{});
  if (each <= 2) return f(std::integral_constant<int, 2>{});
  if (each <= 4) return f(std::integral_constant<int, 4>{});
  if (each <= 6) return f(std::integral_constant<int, 6>{});
  if (each <= 10) return f(std::integral_constant<int, 10>{});
  if (each <= 20) return f(std::integral_constant<int, 20>{});
  if constexpr (most > 20)
    if (each <= most) return f(std::integral_constant<int, most>{});
  f(std::integral_constant<int, 0>{});
}

template <class T> struct WeightTerm {
  Rows<T> dy, x;
  const float* stats;
  __device__ float operator()(int64_t row, int64_t column) const {
    return get(*dy.at(row, column)) * ((get(*x.at(row, column)) - stats[2 * row]) * stats[2 * row + 1]);
  }
};

// One pass gives everything where rows are held; wider rows are read again for the weight and the bias.
template <class T, int held> void norm_backward(const char* name, const Tensor& dx, const Tensor& dweight, const Tensor& dbias,
                                                const Tensor& dy, const Tensor& x, const Tensor& stats, const Tensor& weight,
                                                const Tensor& added) {
  const int64_t columns = columns_of(x), chunks = x.numel() > 0 ? chunks_of(x.rows()) : 0;
  const bool together = held > 0 && (dweight || dbias);
  const Storage partial(x.device(), together ? chunks * 2 * columns * int64_t(sizeof(float)) : 0, MemoryUse::scratch);
  auto* const sums = together ? static_cast<float*>(partial.data()) : nullptr;
  if (x.numel() > 0 && (dx || together))
    launch(name, norm_rows_backward<held, T>, dim3(unsigned(chunks)), row_threads,
           together ? size_t(rows_together * 2 * columns) * sizeof(float) : 0, stream(x.device()), x.rows(), columns,
           MaybeRows<T>(dx), MaybeRows<T>(added), sums, Rows<T>(dy), Rows<T>(x), stats.data<float>(), weight.data<T>(),
           terms_each(x.rows()));
  if (together) {
    if (dweight) total_of_chunks<T>(name, dweight, chunks, sums, 2 * columns);
    if (dbias) total_of_chunks<T>(name, dbias, chunks, sums + columns, 2 * columns);
  } else {
    if (dweight) sum_over_rows<T>(name, dweight, x.rows(), WeightTerm<T>{Rows<T>(dy), Rows<T>(x), stats.data<float>()});
    if (dbias) sum_over_rows<T>(name, dbias, x.rows(), RowValue<T>{Rows<T>(dy)});
  }
}

void layer_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        double eps) {
  normalise("layer_norm_forward", y, stats, x, weight, bias, eps);
}
void layer_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight) {
  normalise_backward("layer_norm_backward", dx, dweight, dbias, dy, x, stats, weight, {});
}

}  // namespace

void normalise(const char* name, const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight,
               const Tensor& bias, double eps) {
  if (x.numel() == 0) return;
  visit_float(name, x, [&]<class T>() {
    with_held<most_held>(columns_of(x), [&](auto held) {
      launch(name, norm_rows<decltype(held)::value, T>, loop_grid(x.rows() * warp_size, x.device()), row_threads, 0,
             stream(x.device()), x.rows(), columns_of(x), Rows<T>(y), stats ? stats.data<float>() : nullptr, Rows<T>(x),
             weight.data<T>(), bias.data<T>(), float(eps));
    });
  });
}

void normalise_backward(const char* name, const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy,
                        const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& added) {
  visit_float(name, x, [&]<class T>() {
    with_held<most_held_backward>(columns_of(x), [&](auto held) {
      norm_backward<T, decltype(held)::value>(name, dx, dweight, dbias, dy, x, stats, weight, added);
    });
  });
}

void register_norm_kernels() {
  kernels::layer_norm_forward.set(DeviceKind::cuda, layer_norm_forward);
  kernels::layer_norm_backward.set(DeviceKind::cuda, layer_norm_backward);
}

}  // namespace relume::cuda
