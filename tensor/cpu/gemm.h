// Matrix products of any size, f32, on the tiles of tiles.h. Measured on one core with AVX2 (Zen 3): 98 GFLOP/s of a peak of
// 102 for 96 rows of 180 -> 540 in the cache.
#pragma once

#include <memory>
#include <optional>

#include "tensor/core/tensor.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tiles.h"

namespace relume::cpu {

// Rows that are worked on together in fused operations: a multiple of every tile's height, few enough for a second-level cache.
inline constexpr int64_t rows_together = 96;

// A right factor, packed: each panel together, zeros behind the last column.
struct PackedMatrix {
  RightFactor factor() const { return {data, panel_width, depth * panel_width}; }
  const float* data;
  int64_t depth, columns;
};
constexpr int64_t packed_size(int64_t depth, int64_t columns) { return depth * round_up(columns, panel_width); }
// Where the elements of a right factor lie: (k, column) at data[k * depth_step + column * column_step].
struct Strided2d {
  const float* data;
  int64_t depth_step, column_step;
};
// Fills rows first .. first + count of a packed matrix whose depth is `depth`.
void pack(float* to, int64_t depth, int64_t columns, const Strided2d& from, int64_t first, int64_t count);

// c[i, j] = sum over k of a(i, k) b(k, j), or is added to; c has rows of round_up(columns, lanes) floats at least.
enum class Into { overwrite, add };
void multiply(float* c, int64_t c_pitch, int64_t rows, int64_t columns, int64_t depth, const LeftFactor& a,
              const RightFactor& b, Into into = Into::overwrite);
inline void multiply(float* c, int64_t c_pitch, int64_t rows, const LeftFactor& a, const PackedMatrix& b,
                     Into into = Into::overwrite) {
  multiply(c, c_pitch, rows, b.columns, b.depth, a, b.factor(), into);
}

// A weight [O, .., I] as right factor, the axes between counting as taps: of x w^T with depth (taps, I); of dy w with depth O
// (one tap); of a convolution with taps in reverse order and the channels exchanged, its own gradient, with depth (taps, O).
enum class WeightUse { forward, backward, flipped };
// Packed, kept in the weight's storage from the second use of one version on: what changes with every step is packed for that
// step alone. Holds what it points at.
class PackedWeight {
 public:
  PackedWeight(const Tensor& weight, WeightUse use);
  const PackedMatrix& matrix() const { return matrix_; }

 private:
  std::shared_ptr<void> held_;
  PackedMatrix matrix_;
};

// A weight as right factor, taken in blocks of columns: of the copy that is kept (PackedWeight), or, where its storage has a
// stored form (a mapped file), packed anew for each block of a call. A large network's copies would take as much memory as the
// file, and longer to make than its first step takes.
class WeightBlocks {
 public:
  WeightBlocks(const Tensor& weight, WeightUse use);
  int64_t depth() const { return depth_; }
  int64_t columns() const { return columns_; }
  bool is_packed_each_time() const { return form_ != nullptr; }
  // The floats of scratch that block() needs for so many columns.
  int64_t scratch_size(int64_t columns) const { return form_ ? packed_size(depth_, columns) : 0; }
  // The columns first .. first + count, first a multiple of panel_width; what lies in scratch is good until it is used again.
  PackedMatrix block(int64_t first, int64_t count, float* scratch) const;

 private:
  std::optional<PackedWeight> packed_;
  const StoredForm* form_ = nullptr;
  int64_t depth_, columns_, taps_;
  Tensor weight_;  // keeps the form
};

// 64-byte aligned floats from the tensors' pool, padded so that whole vectors may be read behind their end.
class Floats {
 public:
  explicit Floats(int64_t count, MemoryUse use = MemoryUse::scratch)
      : storage_({}, (count + panel_width) * int64_t(sizeof(float)), use), data_(static_cast<float*>(storage_.data())) {}
  float* data() const { return data_; }

 private:
  Storage storage_;
  float* data_;  // asked for in inner loops
};

// A product of many rows with such a weight, cut into tasks for the threads: blocks of rows by all columns; where a weight is
// packed each time, more rows at once, for packing to be shared by them, and parts of the columns where rows are few. Results
// do not depend on it.
class ProductTasks {
 public:
  // At most so many rows at once where weights are packed each time.
  ProductTasks(const WeightBlocks& weight, int64_t rows, int64_t most_rows) : weight_(weight), rows_(rows) {
    const int64_t threads = omp_get_max_threads(), columns = weight.columns();
    const bool each_time = weight.is_packed_each_time();
    const int64_t most = each_time ? most_rows : int64_t(rows_together);
    int64_t row_blocks = std::max<int64_t>(1, (rows + most - 1) / most);
    if (each_time && row_blocks >= threads) row_blocks = round_up(row_blocks, threads);
    rows_each_ = each_time ? std::max<int64_t>(tile_rows, round_up((rows + row_blocks - 1) / row_blocks, tile_rows)) : most;
    columns_together_ = each_time ? 64 : columns;
    parts_ = each_time ? std::max<int64_t>(1, threads / row_blocks) : 1;
    part_columns_ = round_up((columns + parts_ - 1) / parts_, panel_width);
    tasks_ = (rows + rows_each_ - 1) / rows_each_ * parts_;
  }

  // left(begin, end) prepares the rows of a task and gives the left factor of row `begin`, with memory that it needs until the
  // task ends; finish(product, pitch, begin, end, first, count) takes results of rows begin .. end, columns first .. + count.
  template <class Left, class Finish> void run(Left&& left, Finish&& finish) const {
    parallel_for(tasks_, 1, [&](int64_t task, int64_t) {
      const int64_t begin = task / parts_ * rows_each_, end = std::min(rows_, begin + rows_each_);
      const int64_t from = task % parts_ * part_columns_, to = std::min(weight_.columns(), from + part_columns_);
      if (from >= to) return;
      const auto prepared = left(begin, end);
      const int64_t pitch = round_up(std::min(columns_together_, to - from), lanes);
      const Floats product(rows_together * pitch), packed(weight_.scratch_size(columns_together_));
      for (int64_t first = from; first < to; first += columns_together_) {
        const int64_t count = std::min(columns_together_, to - first);
        const PackedMatrix matrix = weight_.block(first, count, packed.data());
        for (int64_t row = begin; row < end; row += rows_together) {
          const int64_t last = std::min(end, row + rows_together);
          LeftFactor rows = prepared.factor;
          rows.data += (row - begin) * rows.row_step;
          multiply(product.data(), pitch, last - row, rows, matrix);
          finish(product.data(), pitch, row, last, first, count);
        }
      }
    });
  }

 private:
  const WeightBlocks& weight_;
  int64_t rows_, rows_each_, columns_together_, parts_, part_columns_, tasks_;
};

// What ProductTasks asks for: rows where they lie, or in memory of their own.
struct LeftRows {
  LeftFactor factor;
  std::unique_ptr<Floats> memory = {};
};

}  // namespace relume::cpu
