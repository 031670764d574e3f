// Sums over the rows of a batch, as the gradients of parameters are: fixed groups of rows each add up a share, and the shares
// are added in order. The same result on any number of threads.
#pragma once

#include <algorithm>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tiles.h"

namespace relume::cpu {

inline const float* data_or_null(const Tensor& t) { return t ? t.data<float>() : nullptr; }

// The rows of an f32 tensor, looked up once instead of at every row; none for an undefined one.
struct FloatRows {
  FloatRows(const Tensor& t) : data(t ? t.data<float>() : nullptr), pitch(t ? t.pitch() : 0) {}
  float* operator[](int64_t row) const { return data + row * pitch; }
  explicit operator bool() const { return data != nullptr; }
  float* data;
  int64_t pitch;
};

// `total` things cut into groups of whole blocks of `block`, by their number alone: a group for about every `each` of them.
struct Groups {
  Groups(int64_t total_, int64_t block_, int64_t each, int64_t most) : total(total_), block(block_) {
    const int64_t wanted = std::clamp<int64_t>(total / each, 1, most);
    in_group = round_up((total + wanted - 1) / wanted, block);
    count = total > 0 ? (total + in_group - 1) / in_group : 0;
  }
  // Calls f(group, begin, end) for every block of every group; one group's blocks in order, on one thread.
  template <class F> void for_each_block(F&& f) const {
    parallel_for(count, 1, [&](int64_t first, int64_t last) {
      for (int64_t group = first; group < last; ++group) {
        const int64_t end = std::min(total, (group + 1) * in_group);
        for (int64_t begin = group * in_group; begin < end; begin += block) f(group, begin, std::min(end, begin + block));
      }
    });
  }
  int64_t total, block, in_group, count;
};

// A sum [rows, columns] that every group has a share of; nothing where it is not wanted. A tensor of rank 1 has one row, one of
// a higher rank the rows of its first axis.
class Shares {
 public:
  Shares(const Groups& groups, const Tensor& wanted)
      : wanted_(wanted),
        rows_(!wanted || wanted.rank() == 1 ? 1 : wanted.shape(0)),
        columns_(wanted ? wanted.numel() / std::max<int64_t>(1, rows_) : 0),
        pitch_(round_up(columns_, lanes)),
        groups_(groups.count) {
    if (!wanted) return;
    shares_ = Tensor::zeros({groups_ * rows_ * pitch_ + panel_width});
    data_ = shares_.data<float>();
  }
  explicit operator bool() const { return bool(wanted_); }
  float* of(int64_t group) const { return data_ + group * rows_ * pitch_; }
  int64_t pitch() const { return pitch_; }

  // Into the tensor that was wanted, in double.
  void add_up() const {
    if (!wanted_) return;
    const int64_t to_pitch = wanted_.rank() == 2 ? wanted_.pitch() : columns_;
    float* const to = wanted_.data<float>();
    parallel_for(rows_, 16, [&](int64_t begin, int64_t end) {
      std::vector<double> sums(static_cast<size_t>(columns_));
      for (int64_t r = begin; r < end; ++r) {
        std::ranges::fill(sums, 0.0);
        for (int64_t g = 0; g < groups_; ++g) add_to(sums, of(g) + r * pitch_);
        std::ranges::copy(sums, to + r * to_pitch);
      }
    });
  }

 private:
  static void add_to(std::vector<double>& sums, const float* row) {
    double* const s = sums.data();
#pragma omp simd
    for (size_t c = 0; c < sums.size(); ++c) s[c] += double(row[c]);
  }
  Tensor wanted_, shares_;
  float* data_ = nullptr;
  int64_t rows_, columns_, pitch_, groups_;
};

inline void add_column_sums(float* to, const float* rows, int64_t pitch, int64_t count, int64_t columns) {
  for (int64_t r = 0; r < count; ++r, rows += pitch) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) to[c] += rows[c];
  }
}

}  // namespace relume::cpu
