#include "degrade/filter.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "degrade/picture.h"

namespace relume {
namespace {

#ifdef __AVX512F__
constexpr int lanes = 16;
#else
constexpr int lanes = 8;
#endif
using Vector [[gnu::vector_size(lanes * sizeof(float)), gnu::aligned(sizeof(float)), gnu::may_alias]] = float;

int64_t reflect_101(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = ((i % period) + period) % period;
  return i < n ? i : period - i;
}

struct Kernel2d {
  const double* weights;  // [height, width]
  int64_t height, width;
};

// The taps of R output rows that lie below each other, ordered by the source row they read: a source row is loaded once for
// all.
template <int R> struct Taps {
  struct Row {
    int64_t first, last;  // columns of the kernel that any of the R rows uses on this source row
    size_t offset;        // of their weights, R for each column
  };
  std::vector<Row> rows;  // source rows y .. y + height + R - 2
  std::vector<float> weights;

  explicit Taps(const Kernel2d& k) {
    double sum = 0;
    for (int64_t i = 0; i < k.height * k.width; ++i) sum += std::abs(k.weights[i]);
    const double negligible = sum * 0x1p-24 / double(k.height * k.width);
    for (int64_t s = 0; s < k.height + R - 1; ++s) {
      const auto tap = [&](int r, int64_t i) {
        const int64_t j = s - r;
        return j >= 0 && j < k.height ? k.weights[j * k.width + i] : 0.0;
      };
      const auto needed = [&](int64_t i) {
        for (int r = 0; r < R; ++r)
          if (std::abs(tap(r, i)) > negligible) return true;
        return false;
      };
      Row row{0, k.width, weights.size()};
      while (row.first < row.last && !needed(row.first)) ++row.first;
      while (row.last > row.first && !needed(row.last - 1)) --row.last;
      for (int64_t i = row.first; i < row.last; ++i)
        for (int r = 0; r < R; ++r) weights.push_back(float(tap(r, i)));
      rows.push_back(row);
    }
  }
};

// R x V vectors of results held in registers. source[s] points at the block's first element of padded source row s.
template <int R, int V>
inline void correlate_block(const float* const* source, int64_t x, int64_t channels, const Taps<R>& taps, float* const* out) {
  Vector sum[R][V] = {};
  for (size_t s = 0; s < taps.rows.size(); ++s) {
    const auto& row = taps.rows[s];
    const float* weight = taps.weights.data() + row.offset;
    const float* pixel = source[s] + x + row.first * channels;
    for (int64_t i = row.first; i < row.last; ++i, pixel += channels, weight += R) {
      Vector value[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) value[v] = *reinterpret_cast<const Vector*>(pixel + v * lanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[r][v] += weight[r] * value[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) *reinterpret_cast<Vector*>(out[r] + v * lanes) = sum[r][v];
}

template <int R, int V> Tensor correlate(const Tensor& image, const Kernel2d& kernel) {
  constexpr int64_t block = V * lanes;
  const int64_t height = image.shape(0), width = image.shape(1), channels = image.shape(2), row_length = width * channels;
  const int64_t left = kernel.width / 2, top = kernel.height / 2;
  const int64_t right = kernel.width - 1 - left;

  // Rows padded to the sides, and with room for the last block to run over; rows above and below are pointers to these.
  const int64_t blocks = (row_length + block - 1) / block, pitch = blocks * block + (kernel.width - 1) * channels;
  const Tensor padded = Tensor::empty({height, pitch});
  for (int64_t y = 0; y < height; ++y) {
    const float* from = image.data<float>() + y * row_length;
    float* to = padded.data<float>() + y * pitch;
    const auto put = [&](int64_t x) {
      std::copy_n(from + reflect_101(x, width) * channels, channels, to + (x + left) * channels);
    };
    for (int64_t x = -left; x < 0; ++x) put(x);
    std::copy_n(from, row_length, to + left * channels);
    for (int64_t x = width; x < width + right; ++x) put(x);
    std::fill(to + (left + width + right) * channels, to + pitch, 0.0f);
  }
  std::vector<const float*> source;
  for (int64_t y = 0; y < height + kernel.height - 1 + R - 1; ++y)
    source.push_back(padded.data<float>() + reflect_101(y - top, height) * pitch);

  Tensor result = empty_like(image);
  const Taps<R> taps(kernel);
  float overrun[R][block];
  for (int64_t x = 0; x < row_length; x += block)  // down a column of blocks: its source rows stay in the first-level cache
    for (int64_t y = 0; y < height; y += R) {
      float* out[R];
      for (int r = 0; r < R; ++r) {
        const bool inside = y + r < height && x + block <= row_length;
        out[r] = inside ? result.data<float>() + (y + r) * row_length + x : overrun[r];
      }
      correlate_block<R, V>(source.data() + y, x, channels, taps, out);
      for (int r = 0; r < R; ++r)
        if (out[r] == overrun[r] && y + r < height)
          std::copy_n(overrun[r], row_length - x, result.data<float>() + (y + r) * row_length + x);
    }
  return result;
}

}  // namespace

Tensor filter2d(const Tensor& image, const Tensor& kernel) {
  RELUME_CHECK(kernel && kernel.rank() == 2 && is_float(kernel.dtype()) && kernel.numel() > 0, "filter2d: kernel ", kernel,
               ", expected floats [kh, kw]");
  const Tensor weights = kernel.to(DType::f64).contiguous();
  return correlate<4, 3>(checked_picture(image, "filter2d"), {weights.data<double>(), weights.shape(0), weights.shape(1)});
}

Tensor filter_separable(const Tensor& image, std::span<const double> column, std::span<const double> row) {
  RELUME_CHECK(!column.empty() && !row.empty(), "filter_separable: empty kernel");
  const Tensor across = correlate<1, 6>(checked_picture(image, "filter_separable"), {row.data(), 1, int64_t(row.size())});
  return correlate<4, 3>(across, {column.data(), int64_t(column.size()), 1});
}

Tensor blur(const Tensor& image, const BlurKernel& kernel) {
  if (!kernel.line.empty()) return filter_separable(image, kernel.line, kernel.line);
  return correlate<4, 3>(checked_picture(image, "blur"), {kernel.weights.data(), kernel.size, kernel.size});
}

}  // namespace relume
