// Shape: up to six sizes, row-major, the last axis contiguous. Feature maps are [N, H, W, C] (design D1).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

namespace relume {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;                            // rank 0: a scalar
  Shape(std::initializer_list<int64_t> sizes);  // throws on a negative size or more than max_rank axes
  explicit Shape(std::span<const int64_t> sizes);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return sizes_[resolve(axis)]; }  // axis -1 counts from the back; out of range throws
  int64_t numel() const;                     // product of the sizes, 1 for a scalar; throws on 64-bit overflow
  Shape with(int axis, int64_t size) const;  // the same shape with one size replaced
  std::span<const int64_t> sizes() const { return {sizes_.data(), size_t(rank_)}; }
  bool operator==(const Shape& other) const;

 private:
  int resolve(int axis) const;
  std::array<int64_t, max_rank> sizes_{};
  int rank_ = 0;
};
std::ostream& operator<<(std::ostream& out, const Shape& shape);  // [1, 32, 32, 64]

}  // namespace relume
