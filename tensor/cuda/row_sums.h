// Sums over the rows of what a function gives, column by column, in an order that depends on the shapes alone: gradients of
// biases and of the norms' weights.
#pragma once

#include "tensor/cuda/loops.h"

namespace relume::cuda {

inline constexpr int sum_columns = 32, sum_lanes = 8, most_total_lanes = 32;  // of a block: a warp reads neighbouring columns

// Rows that one block adds: few, so that small maps give all of a large device work, and more where that makes partial sums
// many.
inline int64_t terms_each(int64_t terms) { return std::clamp<int64_t>((terms + 255) / 256, 16, 256); }
inline int64_t chunks_of(int64_t terms) { return std::max<int64_t>(1, (terms + terms_each(terms) - 1) / terms_each(terms)); }

// partial[(t * chunks + chunk) * columns + c] = the sum of f(row, c) over the rows t, t + period, ... that fall to the chunk.
template <class F> static __global__ void partial_row_sums(int64_t rows, int64_t columns, int64_t period, int64_t chunks,
                                                           int64_t each, float* partial, F f) {
  RELUME_SHARED(sums, float[sum_lanes][sum_columns + 1]);
  const int64_t column = int64_t(blockIdx.x) * sum_columns + threadIdx.x;
  const int64_t terms = (rows + period - 1) / period;
  for (int64_t item = blockIdx.y; item < period * chunks; item += gridDim.y) {
    const int64_t t = item / chunks, first = (item - t * chunks) * each;
    float sum = 0;
    if (column < columns)
      for (int64_t term = first + threadIdx.y; term < std::min(first + each, terms); term += sum_lanes)
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

// A block's lanes of threads part the chunks among themselves.
template <class T> static __global__ void total_row_sums(int64_t period, int64_t columns, int64_t chunks, int64_t step,
                                                         Rows<T> table, const float* partial) {
  RELUME_SHARED(sums, double[most_total_lanes][sum_columns]);
  const int64_t column = int64_t(blockIdx.x) * sum_columns + threadIdx.x;
  for (int64_t t = blockIdx.y; t < period; t += gridDim.y) {
    double total = 0;
    if (column < columns)
      for (int64_t chunk = threadIdx.y; chunk < chunks; chunk += blockDim.y)
        total += double(partial[(t * chunks + chunk) * step + column]);
    sync_block();  // the sums of the row before may still be read
    sums[threadIdx.y][threadIdx.x] = total;
    sync_block();
    if (threadIdx.y != 0 || column >= columns) continue;
    for (unsigned lane = 1; lane < blockDim.y; ++lane) total += sums[lane][threadIdx.x];
    put(*table.at(t, column), float(total));
  }
}

inline dim3 sums_grid(int64_t columns, int64_t items) {
  return dim3(unsigned((columns + sum_columns - 1) / sum_columns), unsigned(std::min<int64_t>(items, 65535)));
}

// table[t, c] = the sum over the chunks of partial[(t * chunks + chunk) * step + c].
template <class T>
void total_of_chunks(const char* name, const Tensor& table, int64_t chunks, const float* partial, int64_t step) {
  const unsigned lanes = unsigned(std::clamp<int64_t>(chunks, 1, most_total_lanes));
  launch(name, total_row_sums<T>, sums_grid(columns_of(table), table.rows()), dim3(sum_columns, lanes), 0,
         stream(table.device()), table.rows(), columns_of(table), chunks, step, Rows<T>(table), partial);
}

// Rows [terms, columns] of floats that were summed up before.
struct PartialSums {
  const float* at;
  int64_t columns;
  __device__ float operator()(int64_t row, int64_t column) const { return at[row * columns + column]; }
};

// partial [chunks_of(terms), columns]: sums of the `terms` rows, for total_of_chunks() where it would have too many to add.
inline void join_chunks(const char* name, Device device, float* partial, const PartialSums& sums, int64_t terms) {
  const int64_t chunks = chunks_of(terms);
  launch(name, partial_row_sums<PartialSums>, sums_grid(sums.columns, chunks), dim3(sum_columns, sum_lanes), 0, stream(device),
         terms, sums.columns, int64_t(1), chunks, terms_each(terms), partial, sums);
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
  const int64_t terms = (rows + period - 1) / period, chunks = chunks_of(terms);
  const Device device = table.device();
  const Storage partial(device, period * chunks * columns * int64_t(sizeof(float)), MemoryUse::scratch);
  auto* const sums = static_cast<float*>(partial.data());
  launch(name, partial_row_sums<F>, sums_grid(columns, period * chunks), dim3(sum_columns, sum_lanes), 0, stream(device), rows,
         columns, period, chunks, terms_each(terms), sums, f);
  total_of_chunks<T>(name, table, chunks, sums, columns);
}

}  // namespace relume::cuda
