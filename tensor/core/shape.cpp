#include "tensor/core/shape.h"

#include <algorithm>

#include "base/error.h"

namespace relume {

Shape::Shape(std::initializer_list<int64_t> sizes) : Shape(std::span<const int64_t>(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const int64_t> sizes) : rank_(int(sizes.size())) {
  RELUME_CHECK(sizes.size() <= max_rank, "shape: ", sizes.size(), " axes given, at most ", max_rank, " are supported");
  for (int i = 0; i < rank_; ++i) {
    RELUME_CHECK(sizes[i] >= 0, "shape: axis ", i, " has the negative size ", sizes[i]);
    sizes_[i] = sizes[i];
  }
}

int Shape::resolve(int axis) const {
  const int i = axis < 0 ? axis + rank_ : axis;
  RELUME_CHECK(i >= 0 && i < rank_, "shape: axis ", axis, " asked of ", *this);
  return i;
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int i = 0; i < rank_; ++i)
    RELUME_CHECK(!__builtin_mul_overflow(n, sizes_[i], &n), "shape: ", *this, " has more elements than 64 bits can count");
  return n;
}

Shape Shape::with(int axis, int64_t size) const {
  Shape s = *this;
  s.sizes_[resolve(axis)] = size;
  return s;
}

bool Shape::operator==(const Shape& other) const { return std::ranges::equal(sizes(), other.sizes()); }

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape.sizes()[i];
  return out << ']';
}

}  // namespace relume
