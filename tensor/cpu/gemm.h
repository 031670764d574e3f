// Matrix products of any size, f32, on the tiles of tiles.h. Measured on one core with AVX2 (Zen 3): 98 GFLOP/s of a peak of
// 102 for 96 rows of 180 -> 540 in the cache.
#pragma once

#include <memory>

#include "tensor/core/tensor.h"
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

}  // namespace relume::cpu
