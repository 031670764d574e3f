// Window attention on the CPU. One window's one head at a time: queries, keys and values are gathered from the map into padded
// scratch that fits the second-level cache, scores never leave it, and the shift is index arithmetic on the way in and out.
#include "tensor/kernels/attention.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/attention.h"
#include "tensor/cpu/tiles.h"
#include "tensor/scalar/math.h"

namespace relume::cpu {
namespace {

using kernels::WindowAttentionOptions;

constexpr float padding_score = -1e30f;  // of columns beyond the window's tokens: their probability is 0

struct Geometry {
  Geometry(const char* name, const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& o)
      : heads(o.heads), window(o.window), shift(o.shift), scale(float(o.scale)) {
    RELUME_CHECK(qkv.rank() == 4 && o.heads > 0 && o.window > 0 && qkv.shape(3) % (3 * o.heads) == 0, name, ": qkv ", qkv,
                 ", expected [N, H, W, 3*C] with C a multiple of the ", o.heads, " heads");
    height = qkv.shape(1), width = qkv.shape(2), channels = qkv.shape(3) / 3, head_dim = channels / heads;
    RELUME_CHECK(height % window == 0 && width % window == 0 && shift >= 0 && shift < window, name, ": qkv ", qkv, ", window ",
                 window, ", shift ", shift, "; expected a map of whole windows and 0 <= shift < window");
    RELUME_CHECK(table.shape() == Shape({(2 * window - 1) * (2 * window - 1), heads}), name, ": table ", table, " for window ",
                 window, " and ", heads, " heads");
    windows_x = width / window, windows_y = height / window, windows = qkv.shape(0) * windows_y * windows_x;
    tokens = window * window, padded = round_up(tokens, lanes), depth = round_up(head_dim, lanes);
  }
  // 1: the window holds the lower border of the shifted map, 2: the right one, 3: both, 0: it lies in one region.
  int border(int64_t w) const {
    if (shift == 0) return 0;
    return int(w / windows_x % windows_y == windows_y - 1) + 2 * int(w % windows_x == windows_x - 1);
  }
  // Calls f(token, pixel) for the tokens of window w in order.
  template <class F> void for_each_token(int64_t w, F&& f) const {
    const int64_t map = w / (windows_x * windows_y) * height;
    const int64_t top = w / windows_x % windows_y * window + shift, left = w % windows_x * window + shift;
    int64_t token = 0;
    for (int64_t y = top; y < top + window; ++y) {
      const int64_t row = (map + (y < height ? y : y - height)) * width;
      for (int64_t x = left; x < left + window; ++x) f(token++, row + (x < width ? x : x - width));
    }
  }

  int64_t heads, window, shift, height, width, channels, head_dim, windows_x, windows_y, windows;
  int64_t tokens, padded, depth;  // padded: tokens rounded up, depth: head_dim rounded up
  float scale;
};

// The rows of a matrix in the map that belong to one head: channel 0 of the head at pixel 0, and the way to the next pixel.
struct HeadRows {
  HeadRows(const Tensor& t, int64_t first_channel) : data(t.data<float>() + first_channel), pitch(t.pitch()) {}
  float* data;
  int64_t pitch;
};
void gather(float* to, const HeadRows& from, const Geometry& g, int64_t w, float scale = 1) {
  g.for_each_token(
      w, [&](int64_t t, int64_t pixel) { copy_row(to + t * g.depth, from.data + pixel * from.pitch, g.head_dim, scale); });
}
void scatter(const HeadRows& to, const float* from, const Geometry& g, int64_t w, float scale = 1) {
  g.for_each_token(
      w, [&](int64_t t, int64_t pixel) { copy_row(to.data + pixel * to.pitch, from + t * g.depth, g.head_dim, scale); });
}

// Bias plus mask of every kind of window, [border kinds (4, or 1 without a shift), heads, padded, padded]: a product of queries
// and keys starts from it, so that neither costs a pass of its own.
class ScoreStart {
 public:
  ScoreStart(const Tensor& table, const Geometry& g)
      : g_(g), data_(Tensor::empty({g.shift > 0 ? 4 : 1, g.heads, g.padded, g.padded})) {
    parallel_for(g.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        expand(table, head);
        for (int kind = 1; kind < data_.shape(0); ++kind) mask(kind, head);
      }
    });
  }
  const float* of(int kind, int64_t head) const { return at(kind, head); }

 private:
  float* at(int kind, int64_t head) const { return data_.data<float>() + (kind * g_.heads + head) * g_.padded * g_.padded; }
  void expand(const Tensor& table, int64_t head) const {
    const int64_t window = g_.window, side = 2 * window - 1, step = table.pitch();
    const float* from = table.data<float>() + head;
    float* to = at(0, head);
    for (int64_t i = 0; i < g_.tokens; ++i, to += g_.padded) {
      for (int64_t y = 0, j = 0; y < window; ++y) {
        const int64_t row = (i / window - y + window - 1) * side + i % window + window - 1;
        for (int64_t x = 0; x < window; ++x, ++j) to[j] = from[(row - x) * step];
      }
      std::fill(to + g_.tokens, to + g_.padded, padding_score);
    }
    std::fill(to, at(0, head) + g_.padded * g_.padded, 0.f);
  }
  void mask(int kind, int64_t head) const {
    const int64_t inner = g_.window - g_.shift;
    std::vector<int> region(g_.padded);
    for (int64_t t = 0; t < g_.tokens; ++t)
      region[t] = int(kind & 1 && t / g_.window >= inner) + 2 * int(kind & 2 && t % g_.window >= inner);
    const float* from = at(0, head);
    float* to = at(kind, head);
    for (int64_t i = 0; i < g_.padded; ++i, from += g_.padded, to += g_.padded)
      for (int64_t j = 0; j < g_.padded; ++j) to[j] = from[j] + (region[j] != region[i] ? -100.f : 0.f);
  }
  const Geometry& g_;
  Tensor data_;
};

// Scratch of every thread, zero at first: padding that a gradient or a probability depends on is never written and stays zero.
class Scratch {
 public:
  Scratch(const Geometry& g, int row_buffers, int score_buffers)
      : rows_(g.padded * g.depth),
        scores_(g.padded * g.padded),
        row_buffers_(row_buffers),
        score_buffers_(score_buffers),
        data_(Tensor::zeros({std::max(omp_get_max_threads(), omp_get_num_threads()),
                             row_buffers * rows_ + score_buffers * scores_ + 2 * g.padded})) {}
  // Of the calling thread: buffer k of [padded, depth] (or transposed), buffer k of [padded, padded], two runs of [padded].
  float* rows(int k) const { return data_.data<float>() + omp_get_thread_num() * data_.shape(1) + k * rows_; }
  float* scores(int k) const { return rows(row_buffers_) + k * scores_; }
  float* numbers() const { return scores(score_buffers_); }

 private:
  int64_t rows_, scores_;
  int row_buffers_, score_buffers_;
  Tensor data_;
};

// Windows are shared out in blocks whose number does not depend on the threads; heads too when there are few blocks.
struct Blocks {
  Blocks(const Geometry& g, int64_t windows_per_block)
      : size(windows_per_block), count((g.windows + size - 1) / size), split_heads(count < 16) {}
  // Calls f(block, window, head); one block's one head meets its windows in order, on one thread.
  template <class F> void for_each(const Geometry& g, F&& f) const {
    const int64_t groups = split_heads ? g.heads : 1, heads = g.heads / groups;
    parallel_for(count * groups, 1, [&](int64_t begin, int64_t end) {
      // The probability of a masked pair is about e^-100; arithmetic on subnormals made whole calls six times slower.
      const FlushSubnormals guard;
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t block = unit / groups, first_head = unit % groups * heads;
        for (int64_t w = block * size; w < std::min(g.windows, (block + 1) * size); ++w)
          for (int64_t head = first_head; head < first_head + heads; ++head) f(block, w, head);
      }
    });
  }
  int64_t size, count;
  bool split_heads;
};

// row[0, n) = exp(row - x).
inline void exp_row(float* row, int64_t n, float x) {
  for (int64_t j = 0; j < n; ++j) row[j] = math::exp(row[j] - x);
}

// Rows of scores [padded, padded] become exp(score - largest of the row); its sum goes to sum[i], the largest to top[i].
void exponentiate_rows(float* scores, float* sum, float* top, const Geometry& g) {
  const auto at = [&](int64_t i, int64_t j) { return load(scores + i * g.padded + j); };
  reduce_rows(top, g.padded, g.padded, at, [](Vec a, Vec b) { return max(a, b); });
  for (int64_t i = 0; i < g.tokens; ++i) exp_row(scores + i * g.padded, g.padded, top[i]);
  reduce_rows(sum, g.padded, g.padded, at, [](Vec a, Vec b) { return a + b; });
}

void forward_f32(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table, const Geometry& g) {
  const ScoreStart start(table, g);
  const Scratch scratch(g, 4, 1);
  const ProductShape score_shape{round_up(g.tokens, row_block), g.padded, g.head_dim};
  const ProductShape value_shape{round_up(g.tokens, row_block), g.depth, g.tokens};
  Blocks(g, 1).for_each(g, [&](int64_t, int64_t w, int64_t head) {
    float *q = scratch.rows(0), *k = scratch.rows(1), *k_t = scratch.rows(2), *v = scratch.rows(3), *p = scratch.scores(0);
    float *sum = scratch.numbers(), *top = sum + g.padded, *out = q;  // q is free when out is written
    gather(q, {qkv, head * g.head_dim}, g, w, g.scale);
    gather(k, {qkv, g.channels + head * g.head_dim}, g, w);
    gather(v, {qkv, 2 * g.channels + head * g.head_dim}, g, w);
    transpose(k_t, g.padded, k, g.depth, g.padded, g.depth);

    const float* from = start.of(g.border(w), head);
    product(
        score_shape, {q, g.depth, 1}, k_t, g.padded, [&](int64_t i, int64_t j) { return load(from + i * g.padded + j); },
        [&](int64_t i, int64_t j, Vec s) { store(p + i * g.padded + j, s); });
    exponentiate_rows(p, sum, top, g);
    product(
        value_shape, {p, g.padded, 1}, v, g.depth, [](int64_t, int64_t) { return Vec{}; },
        [&](int64_t i, int64_t j, Vec x) { store(out + i * g.depth + j, x); });

    const HeadRows to(y, head * g.head_dim);
    g.for_each_token(
        w, [&](int64_t t, int64_t pixel) { copy_row(to.data + pixel * to.pitch, out + t * g.depth, g.head_dim, 1 / sum[t]); });
    if (!lse) return;
    for (int64_t t = 0; t < g.tokens; ++t) top[t] += math::log(sum[t]);
    const HeadRows denominators(lse, head);
    g.for_each_token(w, [&](int64_t t, int64_t pixel) { denominators.data[pixel * denominators.pitch] = top[t]; });
  });
}

// dtable from the gradients of the scores, summed over windows: partial [blocks, heads, padded, padded].
void fold_table(const Tensor& dtable, const Tensor& partial, const Geometry& g) {
  const int64_t side = 2 * g.window - 1, size = g.padded * g.padded;
  parallel_for(g.heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> dbias(size);
    std::vector<double> sums(side * side);
    for (int64_t head = begin; head < end; ++head) {
      std::fill(dbias.begin(), dbias.end(), 0.f);
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t block = 0; block < partial.shape(0); ++block) {
        const float* from = partial.data<float>() + (block * g.heads + head) * size;
        for (int64_t i = 0; i < size; ++i) dbias[i] += from[i];
      }
      for (int64_t i = 0; i < g.tokens; ++i)
        for (int64_t y = 0; y < g.window; ++y) {
          const float* from = dbias.data() + i * g.padded + y * g.window;
          double* to = sums.data() + (i / g.window - y + g.window - 1) * side + i % g.window + g.window - 1;
          for (int64_t x = 0; x < g.window; ++x) to[-x] += from[x];
        }
      for (int64_t i = 0; i < side * side; ++i) dtable.data<float>()[i * dtable.pitch() + head] = float(sums[i]);
    }
  });
}

// With s = scale q k^T + bias + mask, p = exp(s - lse), D = rowsum(dy * y):
// dv = p^T dy, ds = p * (dy v^T - D), dq = scale ds k, dk = ds^T (scale q), dbias = ds summed over windows.
void backward_f32(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                  const Tensor& qkv, const Tensor& table, const Geometry& g) {
  const ScoreStart start(table, g);
  const Scratch scratch(g, 7, 2);
  const Blocks blocks(g, dtable ? std::max<int64_t>(4, (g.windows + 63) / 64) : 1);
  Tensor partial;
  if (dtable) partial = Tensor::zeros({blocks.count, g.heads, g.padded, g.padded});
  const ProductShape score_shape{round_up(g.tokens, row_block), g.padded, g.head_dim};
  const ProductShape value_shape{round_up(g.tokens, row_block), g.depth, g.tokens};
  const auto zero = [](int64_t, int64_t) { return Vec{}; };
  blocks.for_each(g, [&](int64_t block, int64_t w, int64_t head) {
    float *q = scratch.rows(0), *k = scratch.rows(1), *v = scratch.rows(2), *k_t = scratch.rows(3), *v_t = scratch.rows(4);
    float *dout = scratch.rows(5), *out = scratch.rows(6), *p = scratch.scores(0), *ds = scratch.scores(1);
    float *mean = scratch.numbers(), *denominator = mean + g.padded;
    const int64_t channel = head * g.head_dim;
    gather(q, {qkv, channel}, g, w, g.scale);
    gather(k, {qkv, g.channels + channel}, g, w);
    gather(v, {qkv, 2 * g.channels + channel}, g, w);
    gather(dout, {dy, channel}, g, w);
    gather(out, {y, channel}, g, w);
    transpose(k_t, g.padded, k, g.depth, g.padded, g.depth);
    transpose(v_t, g.padded, v, g.depth, g.padded, g.depth);
    const HeadRows denominators(lse, head);
    g.for_each_token(w, [&](int64_t t, int64_t pixel) { denominator[t] = denominators.data[pixel * denominators.pitch]; });
    reduce_rows(
        mean, g.padded, g.depth,
        [&](int64_t i, int64_t d) { return load(dout + i * g.depth + d) * load(out + i * g.depth + d); },
        [](Vec a, Vec b) { return a + b; });

    const float* from = start.of(g.border(w), head);
    product(
        score_shape, {q, g.depth, 1}, k_t, g.padded, [&](int64_t i, int64_t j) { return load(from + i * g.padded + j); },
        [&](int64_t i, int64_t j, Vec s) { store(p + i * g.padded + j, s); });
    for (int64_t i = 0; i < g.tokens; ++i) exp_row(p + i * g.padded, g.padded, denominator[i]);
    product(
        score_shape, {dout, g.depth, 1}, v_t, g.padded, [&](int64_t i, int64_t) { return splat(-mean[i]); },
        [&](int64_t i, int64_t j, Vec dp) { store(ds + i * g.padded + j, load(p + i * g.padded + j) * dp); });
    if (dtable) {
      float* dbias = partial.data<float>() + (block * g.heads + head) * g.padded * g.padded;
      for (int64_t i = 0; i < g.tokens * g.padded; i += lanes) store(dbias + i, load(dbias + i) + load(ds + i));
    }

    float* grad = k_t;  // k_t is free by now
    const auto keep = [&](int64_t i, int64_t j, Vec x) { store(grad + i * g.depth + j, x); };
    product(value_shape, {ds, g.padded, 1}, k, g.depth, zero, keep);
    scatter({dqkv, channel}, grad, g, w, g.scale);
    product(value_shape, {ds, 1, g.padded}, q, g.depth, zero, keep);
    scatter({dqkv, g.channels + channel}, grad, g, w);
    product(value_shape, {p, 1, g.padded}, dout, g.depth, zero, keep);
    scatter({dqkv, 2 * g.channels + channel}, grad, g, w);
  });
  if (dtable) fold_table(dtable, partial, g);
}

void check_like(const char* name, const char* what, const Tensor& t, const Tensor& qkv, int64_t last) {
  RELUME_CHECK(t.dtype() == qkv.dtype() && t.shape() == qkv.shape().with(3, last), name, ": ", what, " ", t, ", expected ",
               qkv.dtype(), " ", qkv.shape().with(3, last));
}
void check_dtype(const char* name, const Tensor& qkv, const Tensor& table) {
  RELUME_CHECK((qkv.dtype() == DType::f32 || qkv.dtype() == DType::f64) && table.dtype() == qkv.dtype(), name, ": qkv ", qkv,
               ", table ", table, "; expected both f32 or both f64");
}

void forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
             const WindowAttentionOptions& options) {
  const char* name = kernels::window_attention_forward.name();
  check_dtype(name, qkv, table);
  const Geometry g(name, qkv, table, options);
  check_like(name, "y", y, qkv, g.channels);
  if (lse) check_like(name, "lse", lse, qkv, g.heads);
  if (qkv.dtype() == DType::f64) return reference::window_attention_forward(y, lse, qkv, table, options);
  forward_f32(y, lse, qkv, table, g);
}

void backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse, const Tensor& qkv,
              const Tensor& table, const WindowAttentionOptions& options) {
  const char* name = kernels::window_attention_backward.name();
  check_dtype(name, qkv, table);
  const Geometry g(name, qkv, table, options);
  check_like(name, "dqkv", dqkv, qkv, 3 * g.channels);
  check_like(name, "dy", dy, qkv, g.channels);
  check_like(name, "y", y, qkv, g.channels);
  check_like(name, "lse", lse, qkv, g.heads);
  if (dtable)
    RELUME_CHECK(dtable.dtype() == table.dtype() && dtable.shape() == table.shape(), name, ": dtable ", dtable, ", table ",
                 table);
  if (qkv.dtype() == DType::f64) return reference::window_attention_backward(dqkv, dtable, dy, y, lse, qkv, table, options);
  backward_f32(dqkv, dtable, dy, y, lse, qkv, table, g);
}

}  // namespace

void register_attention_kernels() {
  kernels::window_attention_forward.set(DeviceKind::cpu, forward);
  kernels::window_attention_backward.set(DeviceKind::cpu, backward);
}

}  // namespace relume::cpu
