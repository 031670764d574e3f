// Sums over the rows of what a function gives, column by column, in an order that depends on the shapes alone: gradients of
// biases and of the norms' weights.
#pragma once

#include "tensor/cuda/loops.h"

namespace relume::cuda {

inline constexpr int sum_columns = 32, sum_lanes = 8;  // of a block: a warp reads neighbouring columns
inline constexpr int64_t terms_each = 256;             // rows that one block adds

// partial[(t * chunks + chunk) * columns + c] = the sum of f(row, c) over the rows t, t + period, ... that fall to the chunk.
template <class F>
static __global__ void partial_row_sums(int64_t rows, int64_t columns, int64_t period, int64_t chunks, float* partial, F f) {
  RELUME_SHARED(sums, float[sum_lanes][sum_columns + 1]);
  const int64_t column = int64_t(blockIdx.x) * sum_columns + threadIdx.x;
  const int64_t terms = (rows + period - 1) / period;
  for (int64_t item = blockIdx.y; item < period * chunks; item += gridDim.y) {
    const int64_t t = item / chunks, first = (item - t * chunks) * terms_each;
    float sum = 0;
    if (column < columns)
      for (int64_t term = first + threadIdx.y; term < std::min(first + terms_each, terms); term += sum_lanes)
        if (const int64_t row = term * period + t; row < rows) sum += f(row, column);
    sync_block();  // the sums of the item before may still be read
    sums[threadIdx.y][threadIdx.x] = sum;
    sync_block();
    if (threadIdx.y == 0 && column < columns) {
      float total = sums[0][threadIdx.x];
      for (int lane = 1; lane < sum_lanes; ++lane) total += sums[lane][threadIdx.x];
      partial[item * columns + column] = total;
    }
  }
}

template <class T> static __global__ void total_row_sums(int64_t period, int64_t columns, int64_t chunks, int64_t step,
                                                         Rows<T> table, const float* partial) {
  for_each_item(period * columns, [&](int64_t i) {
    const int64_t t = i / columns, column = i - t * columns;
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += double(partial[(t * chunks + chunk) * step + column]);
    put(*table.at(t, column), float(total));
  });
}

// table[t, c] = the sum over the chunks of partial[(t * chunks + chunk) * step + c].
template <class T>
void total_of_chunks(const char* name, const Tensor& table, int64_t chunks, const float* partial, int64_t step) {
  const Rows<T> rows(table);
  launch(name, total_row_sums<T>, loop_grid(table.numel(), table.device()), loop_threads, 0, stream(table.device()),
         table.rows(), columns_of(table), chunks, step, rows, partial);
}

// For the sum of the rows themselves.
template <class T> struct RowValue {
  Rows<T> x;
  __device__ float operator()(int64_t row, int64_t column) const { return get(*x.at(row, column)); }
};

// table[t, c] = the sum of f(row, c) over all rows with row mod R = t; R the rows of the table.
template <class T, class F> void sum_over_rows(const char* name, const Tensor& table, int64_t rows, F f) {
  const int64_t columns = columns_of(table), period = table.rows();
  if (table.numel() == 0) return;
  const int64_t terms = (rows + period - 1) / period, chunks = std::max<int64_t>(1, (terms + terms_each - 1) / terms_each);
  const Device device = table.device();
  const Storage partial(device, period * chunks * columns * int64_t(sizeof(float)), MemoryUse::scratch);
  auto* const sums = static_cast<float*>(partial.data());
  const dim3 grid(unsigned((columns + sum_columns - 1) / sum_columns), unsigned(std::min<int64_t>(period * chunks, 65535)));
  launch(name, partial_row_sums<F>, grid, dim3(sum_columns, sum_lanes), 0, stream(device), rows, columns, period, chunks, sums,
         f);
  total_of_chunks<T>(name, table, chunks, sums, columns);
}

}  // namespace relume::cuda
