#include "models/autoencoder_strips.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/interrupt.h"

namespace relume {
namespace {

constexpr int64_t rows_together = 4;  // of a result: where Winograd's tiles begin in the whole map, they do in a strip

int64_t ceiling(int64_t n, int64_t divisor) { return (n + divisor - 1) / divisor; }

// Of a map [1, H, W, C].
Tensor rows_of(const Tensor& map, int64_t begin, int64_t end) {
  const Shape& s = map.shape();
  return map.reshape({s[1], s[2], s[3]}).slice(begin, end).reshape(s.with(1, end - begin));
}

// How a convolution reads a map of so many rows.
class Reach {
 public:
  Reach(const Conv2d& conv, const Tensor& map) : options_(conv.options()), kernel_(conv.weight.shape(1)), rows_(map.shape(1)) {
    const ConvOptions& o = options_;
    result_ = {1, (rows_ * o.enlarge + o.top + o.bottom - kernel_) / o.stride + 1,
               (map.shape(2) * o.enlarge + o.left + o.right - conv.weight.shape(2)) / o.stride + 1, conv.weight.shape(0)};
  }
  const Shape& result() const { return result_; }
  // The rows of the map that the rows [begin, end) of the result are made of.
  std::pair<int64_t, int64_t> source(int64_t begin, int64_t end) const {
    const int64_t first = begin * options_.stride - options_.top, last = enlarged_end(end);
    return {std::max<int64_t>(0, first) / options_.enlarge, std::min(rows_, ceiling(last, options_.enlarge))};
  }
  // The padding around those rows.
  ConvOptions around(int64_t begin, int64_t end) const {
    const auto [first, last] = source(begin, end);
    ConvOptions o = options_;
    o.top = int(first * o.enlarge - (begin * o.stride - options_.top));
    o.bottom = int(enlarged_end(end) - last * o.enlarge);
    return o;
  }
  int64_t most_rows_read(int64_t rows) const { return std::min(rows_, (rows - 1) * options_.stride + kernel_); }
  // Rows of a strip that holds about so many bytes of what is read and of what is made: all strips have nearly the same.
  int64_t rows_of_strip(const Tensor& map, int64_t bytes) const {
    const int64_t read = map.shape(2) * std::max(options_.stride, options_.enlarge) * map.shape(3);
    const int64_t row_bytes = std::max(read, result_[2] * result_[3]) * size_of(map.dtype());
    const int64_t most = std::max<int64_t>(1, bytes / (row_bytes * rows_together)), all = ceiling(result_[1], rows_together);
    return ceiling(all, ceiling(all, most)) * rows_together;
  }

 private:
  int64_t enlarged_end(int64_t end) const { return (end - 1) * options_.stride - options_.top + kernel_; }

  ConvOptions options_;
  int64_t kernel_, rows_;
  Shape result_;
};

// The normalised rows of a map, in a window that moves down. A row is normalised once, when the window reaches it: behind the
// window's end the map is not read again, and its rows may be written.
class NormedRows {
 public:
  NormedRows(const GroupNorm& norm, const Tensor& map, int64_t most_rows)
      : norm_(norm),
        map_(map),
        stats_(norm.stats(map)),
        window_(Tensor::empty(map.shape().with(1, most_rows), map.dtype(), map.device())) {}

  // [begin, end): no row lies above the last window's, and those that both have are fewer than the window has moved by.
  Tensor operator()(int64_t begin, int64_t end) {
    const int64_t kept = std::max<int64_t>(0, end_ - begin);
    if (kept > 0) rows_of(window_, 0, kept).copy_from(rows_of(window_, begin - begin_, end_ - begin_));
    if (begin + kept < end) norm_.apply(rows_of(window_, kept, end - begin), rows_of(map_, begin + kept, end), stats_);
    begin_ = begin, end_ = end;
    return rows_of(window_, 0, end - begin);
  }

 private:
  const GroupNorm& norm_;
  const Tensor map_, stats_, window_;
  int64_t begin_ = 0, end_ = 0;
};

// One sample on its way.
class Walk {
 public:
  Walk(Tensor x, int64_t bytes) : x_(std::move(x)), bytes_(bytes) {}
  const Tensor& x() const { return x_; }

  void take(const AutoencoderStep& step) {
    if (step.keeps) kept_ = x_;
    x_ = step.conv ? convolved(step) : step.behind_norm((*step.norm)(x_), kept_);
    if (step.adds) kept_ = {};
  }

 private:
  Tensor convolved(const AutoencoderStep& step) const {
    const Reach reach(*step.conv, x_);
    const int64_t height = reach.result()[1], rows = reach.rows_of_strip(x_, bytes_);
    // A map that a step made and another adds to is nobody else's.
    const bool in_place = step.norm && step.adds && !step.keeps;
    const Tensor y = in_place ? x_ : Tensor::empty(reach.result(), x_.dtype(), x_.device());
    std::optional<NormedRows> normed;
    if (step.norm) normed.emplace(*step.norm, x_, reach.most_rows_read(rows));
    for (int64_t begin = 0; begin < height; begin += rows) {
      const int64_t end = std::min(height, begin + rows);
      const auto [first, last] = reach.source(begin, end);
      const Tensor from = normed ? (*normed)(first, last) : rows_of(x_, first, last), to = rows_of(y, begin, end);
      step.conv->write(to, from, reach.around(begin, end), step.adds ? added(step, to, begin, end) : Tensor());
    }
    return y;
  }

  // What is added to rows of a result; a shortcut writes it to where the result will be.
  Tensor added(const AutoencoderStep& step, const Tensor& to, int64_t begin, int64_t end) const {
    const Tensor kept = rows_of(kept_, begin, end);
    if (!step.shortcut) return kept;
    step.shortcut->write(to, kept, step.shortcut->options());
    return to;
  }

  Tensor x_, kept_;
  int64_t bytes_;
};

}  // namespace

Tensor run_in_strips(const AutoencoderSteps& steps, const Tensor& x, int64_t bytes) {
  const NoGrad no_grad;
  return sample_by_sample(x, [&](const Tensor& one) {
    Walk walk(one, bytes);
    for (const AutoencoderStep& step : steps) {
      throw_if_interrupted();
      walk.take(step);
    }
    return walk.x();
  });
}

}  // namespace relume
