#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "base/rounding.h"
#include "tensor/cpu/families.h"
#include "tensor/cpu/parallel.h"
#include "tensor/kernels/picture.h"

namespace relume::cpu {
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

// At least `length` floats in an odd number of cache lines: elements below each other then lie in different sets of a cache.
int64_t row_pitch(int64_t length) {
  constexpr int64_t line = 16;
  return (round_up(length, line) / line | 1) * line;
}

struct Kernel2d {
  const float* weights;  // [height, width]
  int64_t height, width;
};

// The taps of R output rows that lie below each other, ordered by the source row they read: a source row is loaded once for
// all. Taps too small to reach an f32 result, together less than 2^-24 of the kernel's absolute sum, are left out.
template <int R> struct Taps {
  struct Row {
    int64_t first, last;  // columns of the kernel that any of the R rows uses on this source row
    size_t offset;        // of their weights, R for each column
  };
  std::vector<Row> rows;  // source rows y .. y + height + R - 2
  std::vector<float> weights;

  explicit Taps(const Kernel2d& k) {
    double sum = 0;
    for (int64_t i = 0; i < k.height * k.width; ++i) sum += std::abs(double(k.weights[i]));
    const double negligible = sum * 0x1p-24 / double(k.height * k.width);
    for (int64_t s = 0; s < k.height + R - 1; ++s) {
      const auto tap = [&](int r, int64_t i) {
        const int64_t j = s - r;
        return j >= 0 && j < k.height ? k.weights[j * k.width + i] : 0.0f;
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
        for (int r = 0; r < R; ++r) weights.push_back(tap(r, i));
      rows.push_back(row);
    }
  }
};

// R x V vectors of results held in registers. source[s] points at padded source row s.
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

// One picture, seen as rows of width * channels floats.
struct Picture {
  float* data;
  int64_t height, width, channels;
  Picture(const Tensor& batch, int64_t n)
      : data(batch.data<float>() + n * batch.shape(1) * batch.shape(2) * batch.shape(3)),
        height(batch.shape(1)),
        width(batch.shape(2)),
        channels(batch.shape(3)) {}
  int64_t row_length() const { return width * channels; }
};

// A row of pixels with `left` and `right` more at its sides, zeros up to `pitch`.
void pad_row(const float* from, int64_t width, int64_t channels, int64_t left, int64_t right, float* to, int64_t pitch) {
  const auto put = [&](int64_t i) {
    std::copy_n(from + reflect_101(i, width) * channels, channels, to + (i + left) * channels);
  };
  for (int64_t i = -left; i < 0; ++i) put(i);
  std::copy_n(from, width * channels, to + left * channels);
  for (int64_t i = width; i < width + right; ++i) put(i);
  std::fill(to + (left + width + right) * channels, to + pitch, 0.0f);
}

constexpr int64_t block = 6 * lanes;  // floats of a row that are worked on at a time

// Neighbouring rows of results, that share source rows.
struct Group {
  int64_t first, count;  // rows; 4, 2 or 1
};
std::vector<Group> groups_of(std::span<const int64_t> rows, int64_t height) {
  std::vector<Group> groups;
  const int64_t count = rows.empty() ? height : int64_t(rows.size());
  const auto row = [&](int64_t i) { return rows.empty() ? i : rows[size_t(i)]; };
  for (int64_t i = 0; i < count;) {
    const auto adjacent = [&](int64_t n) { return i + n <= count && row(i + n - 1) == row(i) + n - 1; };
    const int64_t n = adjacent(4) ? 4 : adjacent(2) ? 2 : 1;
    groups.push_back({row(i), n});
    i += n;
  }
  return groups;
}

// A picture's rows padded to the sides; source[i] is row i - kernel.height / 2, reflected where the picture has none.
struct PaddedRows {
  Tensor memory;
  int64_t pitch;
  std::vector<const float*> source;
  PaddedRows(const Picture& x, const Kernel2d& kernel)
      : pitch(row_pitch(round_up(x.row_length(), block) + (kernel.width - 1) * x.channels)) {
    const int64_t left = kernel.width / 2, right = kernel.width - 1 - left;
    memory = Tensor::empty({x.height, pitch});
    float* to = memory.data<float>();
    parallel_for(x.height, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        pad_row(x.data + i * x.row_length(), x.width, x.channels, left, right, to + i * pitch, pitch);
    });
    for (int64_t i = 0; i < x.height + kernel.height - 1; ++i)
      source.push_back(to + reflect_101(i - kernel.height / 2, x.height) * pitch);
  }
};

// The taps of a kernel for each size of group.
struct GroupTaps {
  Taps<4> four;
  Taps<2> two;
  Taps<1> one;
  explicit GroupTaps(const Kernel2d& kernel) : four(kernel), two(kernel), one(kernel) {}
};

// One block of a group; out[r] has room for the whole block.
void correlate_group(const Group& group, const float* const* source, int64_t x, int64_t channels, const GroupTaps& taps,
                     float* const* out) {
  if (group.count == 4) {
    float* const right[] = {out[0] + block / 2, out[1] + block / 2, out[2] + block / 2, out[3] + block / 2};
    correlate_block<4, 3>(source + group.first, x, channels, taps.four, out);
    correlate_block<4, 3>(source + group.first, x + block / 2, channels, taps.four, right);
  } else if (group.count == 2) {
    correlate_block<2, 6>(source + group.first, x, channels, taps.two, out);
  } else {
    correlate_block<1, 6>(source + group.first, x, channels, taps.one, out);
  }
}

Kernel2d kernel_of(const Tensor& weights, int64_t n) {
  const int64_t height = weights.shape(1), width = weights.shape(2);
  return {weights.data<float>() + (weights.shape(0) == 1 ? 0 : n) * height * width, height, width};
}
const float* line_of(const Tensor& lines, int64_t n) {
  return lines.data<float>() + (lines.shape(0) == 1 ? 0 : n) * lines.shape(1);
}

constexpr int64_t strip = 16;  // groups

void correlate_directly(const Picture& to, const Picture& from, const Kernel2d& kernel, const std::vector<Group>& groups) {
  const PaddedRows padded(from, kernel);
  const GroupTaps taps(kernel);
  const int64_t length = to.row_length();
  parallel_for(int64_t(groups.size()), strip, [&](int64_t begin, int64_t end) {
    float overrun[4][block];
    for (int64_t j = 0; j < length; j += block)  // down a column of blocks: its source rows stay in the first-level cache
      for (int64_t g = begin; g < end; ++g) {
        const Group& group = groups[size_t(g)];
        const bool whole = j + block <= length;
        float* out[4];
        for (int64_t r = 0; r < group.count; ++r) out[r] = whole ? to.data + (group.first + r) * length + j : overrun[r];
        correlate_group(group, padded.source.data(), j, to.channels, taps, out);
        if (whole) continue;
        for (int64_t r = 0; r < group.count; ++r) std::copy_n(overrun[r], length - j, to.data + (group.first + r) * length + j);
      }
  });
}

// One product of a column and a row.
struct Term {
  GroupTaps column;
  Taps<1> row;
};

// A sum of products, [height] x [width] each: the column first, since it can leave out rows that are not wanted.
void correlate_terms(const Picture& to, const Picture& from, const std::vector<Term>& terms, int64_t height, int64_t width,
                     const std::vector<Group>& groups) {
  const PaddedRows padded(from, {nullptr, height, 1});
  const int64_t length = to.row_length(), left = width / 2, right = width - 1 - left;
  const int64_t pitch = row_pitch(round_up(length, block)), wide_pitch = pitch + (width - 1) * to.channels;
  parallel_for(int64_t(groups.size()), strip, [&](int64_t begin, int64_t end) {
    const auto between = std::make_unique_for_overwrite<float[]>(size_t(4 * strip * pitch));
    const auto wide = std::make_unique_for_overwrite<float[]>(size_t(wide_pitch));
    for (const Term& term : terms) {
      for (int64_t j = 0; j < length; j += block)
        for (int64_t g = begin; g < end; ++g) {
          float* out[4];
          for (int64_t r = 0; r < 4; ++r) out[r] = between.get() + ((g - begin) * 4 + r) * pitch + j;
          correlate_group(groups[size_t(g)], padded.source.data(), j, to.channels, term.column, out);
        }
      for (int64_t g = begin; g < end; ++g)
        for (int64_t r = 0; r < groups[size_t(g)].count; ++r) {
          float* const smoothed = between.get() + ((g - begin) * 4 + r) * pitch;
          pad_row(smoothed, to.width, to.channels, left, right, wide.get(), wide_pitch);
          const float* const source[] = {wide.get()};
          for (int64_t j = 0; j < length; j += block) {
            float* const out[] = {smoothed + j};
            correlate_block<1, 6>(source, j, to.channels, term.row, out);
          }
          float* const result = to.data + (groups[size_t(g)].first + r) * length;
          if (&term == terms.data())
            std::copy_n(smoothed, length, result);
          else
            for (int64_t i = 0; i < length; ++i) result[i] += smoothed[i];
        }
    }
  });
}

// The kernel as a sum of products by elimination with full pivoting, until what is left, together less than 2^-22 of the
// kernel's absolute sum, is below the rounding of f32 sums. Empty where the direct way has fewer taps: a tap of a row costs
// about two.
std::vector<Term> factorised(const Kernel2d& k) {
  const int64_t size = k.height * k.width;
  std::vector<double> rest(k.weights, k.weights + size);
  const auto absolute_sum = [&] {
    double sum = 0;
    for (const double w : rest) sum += std::abs(w);
    return sum;
  };
  const double enough = absolute_sum() * 0x1p-22;
  const Taps<1> direct(k);
  const int64_t most = int64_t(direct.weights.size()) / (k.height + 2 * k.width + 8);
  std::vector<Term> terms;
  while (absolute_sum() > enough) {
    if (int64_t(terms.size()) >= most) return {};
    const auto pivot = std::max_element(rest.begin(), rest.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    const int64_t at = pivot - rest.begin(), row = at / k.width, column = at % k.width;
    std::vector<double> down(size_t(k.height)), across(size_t(k.width));
    for (int64_t i = 0; i < k.height; ++i) down[size_t(i)] = rest[size_t(i * k.width + column)] / *pivot;
    std::copy_n(rest.begin() + row * k.width, k.width, across.begin());
    for (int64_t i = 0; i < size; ++i) rest[size_t(i)] -= down[size_t(i / k.width)] * across[size_t(i % k.width)];
    const std::vector<float> a(down.begin(), down.end()), b(across.begin(), across.end());
    terms.push_back({GroupTaps({a.data(), k.height, 1}), Taps<1>({b.data(), 1, k.width})});
  }
  return terms;
}

void correlate(const Tensor& y, const Tensor& x, const Tensor& weights, std::span<const int64_t> rows) {
  const std::vector<Group> groups = groups_of(rows, x.shape(1));
  for (int64_t n = 0; n < x.shape(0); ++n) {
    const Kernel2d kernel = kernel_of(weights, n);
    const std::vector<Term> terms = factorised(kernel);
    if (terms.empty())
      correlate_directly(Picture(y, n), Picture(x, n), kernel, groups);
    else
      correlate_terms(Picture(y, n), Picture(x, n), terms, kernel.height, kernel.width, groups);
  }
}

void correlate_separable(const Tensor& y, const Tensor& x, const Tensor& column, const Tensor& row,
                         std::span<const int64_t> rows) {
  const std::vector<Group> groups = groups_of(rows, x.shape(1));
  const int64_t height = column.shape(1), width = row.shape(1);
  for (int64_t n = 0; n < x.shape(0); ++n) {
    const Term term{GroupTaps({line_of(column, n), height, 1}), Taps<1>({line_of(row, n), 1, width})};
    correlate_terms(Picture(y, n), Picture(x, n), {term}, height, width, groups);
  }
}

}  // namespace

void register_picture_correlate_kernels() {
  kernels::correlate.set(DeviceKind::cpu, correlate);
  kernels::correlate_separable.set(DeviceKind::cpu, correlate_separable);
}

}  // namespace relume::cpu
