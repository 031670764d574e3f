// The first half of a Swin block on the CPU, window by window. The rows of one window are gathered from the map, with the shift
// as index arithmetic, and normalised, projected, attended to and projected back in scratch that fits the second-level cache;
// memory sees x and y alone. The backward pass computes a window's queries, keys, values and probabilities again.
#include "tensor/kernels/attention.h"

#include <algorithm>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/norm_rows.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/attention.h"
#include "tensor/cpu/shares.h"
#include "tensor/scalar/math.h"

namespace relume::cpu {
namespace {

using kernels::ResidualWindowAttention, kernels::ResidualWindowAttentionGradients, kernels::WindowAttentionOptions;

constexpr float padding_score = -1e30f;  // of columns beyond the window's tokens: their probability is 0

struct Geometry {
  Geometry(const Tensor& x, const WindowAttentionOptions& o)
      : heads(o.heads),
        window(o.window),
        shift(o.shift),
        height(x.shape(1)),
        width(x.shape(2)),
        channels(x.shape(3)),
        head_dim(channels / heads),
        windows_x(width / window),
        windows_y(height / window),
        windows(x.shape(0) * windows_y * windows_x),
        tokens(window * window),
        padded(round_up(tokens, lanes)),
        pitch(round_up(channels, panel_width)),
        qkv_pitch(round_up(3 * channels, panel_width)),
        scale(float(o.scale)),
        masked(float(o.mask)) {}
  // 1: the window holds the lower border of the shifted map, 2: the right one, 3: both, 0: it lies in one region.
  int border(int64_t w) const {
    if (shift == 0) return 0;
    return int(w / windows_x % windows_y == windows_y - 1) + 2 * int(w % windows_x == windows_x - 1);
  }
  int64_t sample(int64_t w) const { return w / (windows_x * windows_y); }
  // Calls f(token, pixel) for the tokens of window w in order.
  template <class F> void for_each_token(int64_t w, F&& f) const {
    const int64_t map = sample(w) * height;
    const int64_t top = w / windows_x % windows_y * window + shift, left = w % windows_x * window + shift;
    int64_t token = 0;
    for (int64_t y = top; y < top + window; ++y) {
      const int64_t row = (map + (y < height ? y : y - height)) * width;
      for (int64_t x = left; x < left + window; ++x) f(token++, row + (x < width ? x : x - width));
    }
  }

  int64_t heads, window, shift, height, width, channels, head_dim, windows_x, windows_y, windows;
  int64_t tokens, padded;    // padded: rounded up to whole vectors
  int64_t pitch, qkv_pitch;  // of rows of channels and of packed queries, keys and values in scratch
  float scale, masked;       // masked: added to the score of a pair from different regions
};

// Bias plus mask of every kind of window, [border kinds (4, or 1 without a shift), heads, padded, padded]: a product of queries
// and keys starts from it, so that neither costs a pass of its own.
class ScoreStart {
 public:
  ScoreStart(const Tensor& table, const Geometry& g)
      : g_(g), kinds_(g.shift > 0 ? 4 : 1), data_(kinds_ * g.heads * g.padded * g.padded) {
    parallel_for(g.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t head = begin; head < end; ++head) {
        expand(table, head);
        for (int kind = 1; kind < kinds_; ++kind) mask(kind, head);
      }
    });
  }
  const float* of(int kind, int64_t head) const { return at(kind, head); }

 private:
  float* at(int kind, int64_t head) const { return data_.data() + (kind * g_.heads + head) * g_.padded * g_.padded; }
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
      for (int64_t j = 0; j < g_.padded; ++j) to[j] = from[j] + (region[j] != region[i] ? g_.masked : 0.f);
  }
  const Geometry& g_;
  int kinds_;
  Floats data_;
};

// Rows of one window in scratch, with rows of zeros behind the last token. Behind the last channel there may be anything.
class Rows {
 public:
  Rows(const Geometry& g, int64_t row_pitch) : pitch(row_pitch), data_(g.padded * row_pitch) {
    std::fill_n(row(g.tokens), (g.padded - g.tokens) * pitch, 0.f);
  }
  float* row(int64_t token) const { return data_.data() + token * pitch; }
  float* columns(int64_t first) const { return data_.data() + first; }
  LeftFactor left(int64_t first = 0) const { return {columns(first), pitch, 1}; }
  LeftFactor transposed(int64_t first = 0) const { return {columns(first), 1, pitch}; }
  RightFactor right(int64_t first = 0) const { return {columns(first), pitch}; }
  const int64_t pitch;

 private:
  Floats data_;
};

// row[0, n) = exp(row - x).
inline void exp_row(float* row, int64_t n, float x) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) row[j] = math::exp(row[j] - x);
}

// What both passes do with a window before its heads are looked at.
class WindowPass {
 public:
  WindowPass(const Tensor& x, const ResidualWindowAttention& a, const Geometry& geometry)
      : g(geometry), start(a.table, geometry), qkv_weight(a.qkv_weight, WeightUse::forward), a_(a), x_(x) {}

  // norm(x) of window w, its statistics stored or taken from where they were.
  void normalise(const Rows& xn, int64_t w, bool again) const {
    const float *weight = a_.norm.weight.data<float>(), *bias = a_.norm.bias.data<float>();
    float* const stats = a_.norm.stats ? a_.norm.stats.data<float>() : nullptr;
    g.for_each_token(w, [&](int64_t t, int64_t pixel) {
      const float* from = x_[pixel];
      const RowStatistics s = again ? RowStatistics{stats[2 * pixel], stats[2 * pixel + 1], 0}
                                    : row_statistics(from, g.channels, float(a_.norm.eps));
      normalise_row(xn.row(t), from, weight, bias, s, g.channels);
      if (again || !stats) return;
      stats[2 * pixel] = s.mean + s.correction;
      stats[2 * pixel + 1] = s.rstd;
    });
  }

  // Queries, already scaled, keys and values.
  void project(const Rows& qkv, const Rows& xn) const {
    multiply(qkv.columns(0), qkv.pitch, g.tokens, xn.left(), qkv_weight.matrix());
    const float* bias = data_or_null(a_.qkv_bias);
    for (int64_t t = 0; t < g.tokens; ++t) {
      float* row = qkv.row(t);
      if (bias) {
#pragma omp simd
        for (int64_t c = 0; c < 3 * g.channels; ++c) row[c] += bias[c];
      }
#pragma omp simd
      for (int64_t c = 0; c < g.channels; ++c) row[c] *= g.scale;
    }
  }

  // scores [tokens, padded] = queries keys^T + bias + mask; `keys` is scratch of [head_dim rounded up, padded].
  void score(float* scores, float* keys, const Rows& qkv, int64_t w, int64_t head) const {
    const int64_t channel = head * g.head_dim;
    transpose(keys, g.padded, qkv.columns(g.channels + channel), qkv.pitch, g.padded, round_up(g.head_dim, lanes));
    const float* from = start.of(g.border(w), head);
    product(
        {g.tokens, g.padded, g.head_dim}, qkv.left(channel), {keys, g.padded},
        [&](int64_t i, int64_t j) { return load(from + i * g.padded + j); },
        [&](int64_t i, int64_t j, Vec s) { store(scores + i * g.padded + j, s); });
  }

  // Columns of one head in rows of all: whole vectors would run into the next head.
  void keep(const Rows& to, int64_t first, int64_t i, int64_t j, Vec v) const {
    store_first(to.row(i) + first + j, v, g.head_dim - j);
  }

  const Geometry& g;
  const ScoreStart start;
  const PackedWeight qkv_weight;

 private:
  const ResidualWindowAttention& a_;
  const FloatRows x_;
};

void forward_f32(const Tensor& y, const Tensor& x, const ResidualWindowAttention& a, const Geometry& g) {
  const WindowPass pass(x, a, g);
  const PackedWeight proj(a.proj_weight, WeightUse::forward);
  const float* bias = data_or_null(a.proj_bias);
  const FloatRows in(x), out(y), denominators(a.lse);
  parallel_for(g.windows, 1, [&](int64_t w, int64_t) {
    // The probability of a masked pair is about e^-100; arithmetic on subnormals made whole calls six times slower.
    const FlushSubnormals guard;
    const Rows xn(g, g.pitch), qkv(g, g.qkv_pitch), attended(g, g.pitch);
    const Floats keys(round_up(g.head_dim, lanes) * g.padded), scores(g.padded * g.padded), numbers(2 * g.padded);
    float *p = scores.data(), *sum = numbers.data(), *top = sum + g.padded;
    pass.normalise(xn, w, false);
    pass.project(qkv, xn);
    for (int64_t head = 0; head < g.heads; ++head) {
      pass.score(p, keys.data(), qkv, w, head);
      const auto at = [&](int64_t i, int64_t j) { return load(p + i * g.padded + j); };
      reduce_rows(top, g.padded, g.padded, at, [](Vec l, Vec r) { return max(l, r); });
      for (int64_t i = 0; i < g.tokens; ++i) exp_row(p + i * g.padded, g.padded, top[i]);
      reduce_rows(sum, g.padded, g.padded, at, [](Vec l, Vec r) { return l + r; });
      product(
          {g.tokens, round_up(g.head_dim, lanes), g.tokens}, {p, g.padded, 1}, qkv.right(2 * g.channels + head * g.head_dim),
          [](int64_t, int64_t) { return Vec{}; },
          [&](int64_t i, int64_t j, Vec v) { pass.keep(attended, head * g.head_dim, i, j, v * splat(1 / sum[i])); });
      if (denominators)
        g.for_each_token(w, [&](int64_t t, int64_t pixel) { denominators[pixel][head] = top[t] + math::log(sum[t]); });
    }
    multiply(xn.columns(0), xn.pitch, g.tokens, attended.left(), proj.matrix());  // the normed rows are not needed any more
    const float scale = a.sample_scale ? a.sample_scale.data<float>()[g.sample(w)] : 1;
    g.for_each_token(w, [&](int64_t t, int64_t pixel) {
      const float *from = in[pixel], *branch = xn.row(t);
      float* to = out[pixel];
      if (bias) {
#pragma omp simd
        for (int64_t c = 0; c < g.channels; ++c) to[c] = from[c] + scale * (branch[c] + bias[c]);
      } else {
#pragma omp simd
        for (int64_t c = 0; c < g.channels; ++c) to[c] = from[c] + scale * branch[c];
      }
    });
  });
}

// dtable from the gradients of the scores, summed over windows: shares [heads, padded * padded] of each group.
void fold_table(const Tensor& dtable, const Tensor& shares, const Geometry& g) {
  const int64_t side = 2 * g.window - 1, size = g.padded * g.padded;
  parallel_for(g.heads, 1, [&](int64_t head, int64_t) {
    std::vector<float> dbias(size);
    std::vector<double> sums(side * side);
    for (int64_t group = 0; group < shares.shape(0); ++group) {
      const float* from = shares.data<float>() + (group * g.heads + head) * size;
      for (int64_t i = 0; i < size; ++i) dbias[i] += from[i];
    }
    for (int64_t i = 0; i < g.tokens; ++i)
      for (int64_t y = 0; y < g.window; ++y) {
        const float* from = dbias.data() + i * g.padded + y * g.window;
        double* to = sums.data() + (i / g.window - y + g.window - 1) * side + i % g.window + g.window - 1;
        for (int64_t x = 0; x < g.window; ++x) to[-x] += from[x];
      }
    for (int64_t i = 0; i < side * side; ++i) dtable.data<float>()[i * dtable.pitch() + head] = float(sums[i]);
  });
}

// With s = scale q k^T + bias + mask, p = exp(s - lse), o = p v, D = rowsum(do * o):
// dv = p^T do, ds = p * (do v^T - D), dq = scale ds k, dk = ds^T (scale q), dbias = ds summed over windows.
void backward_f32(const ResidualWindowAttentionGradients& out, const Tensor& dy, const Tensor& x,
                  const ResidualWindowAttention& a, const Geometry& g) {
  const WindowPass pass(x, a, g);
  const PackedWeight proj(a.proj_weight, WeightUse::backward), qkv_back(a.qkv_weight, WeightUse::backward);
  const Groups groups(g.windows, 1, 16, 64);
  const Shares dqkv_weight(groups, out.dqkv_weight), dqkv_bias(groups, out.dqkv_bias), dproj_weight(groups, out.dproj_weight),
      dproj_bias(groups, out.dproj_bias), dnorm_weight(groups, out.dnorm_weight), dnorm_bias(groups, out.dnorm_bias);
  const Tensor dbias = out.dtable ? Tensor::zeros({groups.count, g.heads, g.padded, g.padded}) : Tensor();
  const int64_t depth = round_up(g.head_dim, lanes);
  const FloatRows in(x), gradient(dy), denominators(a.lse), result(out.dx);
  const auto zero = [](int64_t, int64_t) { return Vec{}; };
  groups.for_each_block([&](int64_t group, int64_t w, int64_t) {
    const FlushSubnormals guard;
    const Rows xn(g, g.pitch), qkv(g, g.qkv_pitch), dbranch(g, g.pitch), dattended(g, g.pitch), attended(g, g.pitch),
        dqkv(g, g.qkv_pitch);
    const Floats transposed(depth * g.padded), probabilities(g.padded * g.padded), dscores(g.padded * g.padded),
        numbers(2 * g.padded);
    float *p = probabilities.data(), *ds = dscores.data(), *mean = numbers.data(), *lse = mean + g.padded;
    pass.normalise(xn, w, true);
    pass.project(qkv, xn);
    const float scale = a.sample_scale ? a.sample_scale.data<float>()[g.sample(w)] : 1;
    g.for_each_token(w, [&](int64_t t, int64_t pixel) {
      const float* from = gradient[pixel];
      float* to = dbranch.row(t);
#pragma omp simd
      for (int64_t c = 0; c < g.channels; ++c) to[c] = scale * from[c];
    });
    multiply(dattended.columns(0), dattended.pitch, g.tokens, dbranch.left(), proj.matrix());

    for (int64_t head = 0; head < g.heads; ++head) {
      const int64_t q = head * g.head_dim, k = g.channels + q, v = 2 * g.channels + q;
      const ProductShape score_shape{g.tokens, g.padded, g.head_dim}, value_shape{g.tokens, depth, g.tokens};
      g.for_each_token(w, [&](int64_t t, int64_t pixel) { lse[t] = denominators[pixel][head]; });
      pass.score(p, transposed.data(), qkv, w, head);
      for (int64_t i = 0; i < g.tokens; ++i) exp_row(p + i * g.padded, g.padded, lse[i]);
      product(value_shape, {p, g.padded, 1}, qkv.right(v), zero,
              [&](int64_t i, int64_t j, Vec o) { pass.keep(attended, q, i, j, o); });
      for (int64_t t = 0; t < g.tokens; ++t) {
        const float *d = dattended.row(t) + q, *o = attended.row(t) + q;
        mean[t] = lane_sums<1>(g.head_dim, [&](int64_t c) { return std::array{d[c] * o[c]}; })[0];
      }
      transpose(transposed.data(), g.padded, qkv.columns(v), qkv.pitch, g.padded, depth);
      product(
          score_shape, dattended.left(q), {transposed.data(), g.padded}, [&](int64_t i, int64_t) { return splat(-mean[i]); },
          [&](int64_t i, int64_t j, Vec dp) { store(ds + i * g.padded + j, load(p + i * g.padded + j) * dp); });
      if (dbias) {
        float* sum = dbias.data<float>() + (group * g.heads + head) * g.padded * g.padded;
        for (int64_t i = 0; i < g.tokens * g.padded; i += lanes) store(sum + i, load(sum + i) + load(ds + i));
      }
      product(value_shape, {ds, g.padded, 1}, qkv.right(k), zero,
              [&](int64_t i, int64_t j, Vec d) { pass.keep(dqkv, q, i, j, d * splat(g.scale)); });
      product(value_shape, {ds, 1, g.padded}, qkv.right(q), zero,
              [&](int64_t i, int64_t j, Vec d) { pass.keep(dqkv, k, i, j, d); });
      product(value_shape, {p, 1, g.padded}, dattended.right(q), zero,
              [&](int64_t i, int64_t j, Vec d) { pass.keep(dqkv, v, i, j, d); });
    }

    if (dproj_weight)
      multiply(dproj_weight.of(group), dproj_weight.pitch(), g.channels, g.channels, g.tokens, dbranch.transposed(),
               attended.right(), Into::add);
    if (dproj_bias) add_column_sums(dproj_bias.of(group), dbranch.row(0), dbranch.pitch, g.tokens, g.channels);
    if (dqkv_weight)
      multiply(dqkv_weight.of(group), dqkv_weight.pitch(), 3 * g.channels, g.channels, g.tokens, dqkv.transposed(), xn.right(),
               Into::add);
    if (dqkv_bias) add_column_sums(dqkv_bias.of(group), dqkv.row(0), dqkv.pitch, g.tokens, 3 * g.channels);

    const Rows& dxn = dattended;  // free by now
    multiply(dxn.columns(0), dxn.pitch, g.tokens, dqkv.left(), qkv_back.matrix());
    const float *stats = a.norm.stats.data<float>(), *weight = a.norm.weight.data<float>();
    float* const unwanted = attended.row(0);  // free, too
    g.for_each_token(w, [&](int64_t t, int64_t pixel) {
      const float *from = in[pixel], *s = stats + 2 * pixel;
      normalise_row_parameters(dnorm_weight ? dnorm_weight.of(group) : unwanted, dnorm_bias ? dnorm_bias.of(group) : unwanted,
                               dxn.row(t), from, s[0], s[1], g.channels);
      if (result) normalise_row_backward(result[pixel], dxn.row(t), from, weight, s[0], s[1], g.channels, gradient[pixel]);
    });
  });
  for (const Shares* s : {&dqkv_weight, &dqkv_bias, &dproj_weight, &dproj_bias, &dnorm_weight, &dnorm_bias}) s->add_up();
  if (dbias) fold_table(out.dtable, dbias, g);
}

void check(const char* name, const Tensor& x, const ResidualWindowAttention& a) {
  RELUME_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::f64, name, ": ", x, " given; on the cpu it runs in f32 and f64");
  RELUME_BUG(a.norm.weight && x.shape(3) % a.options.heads == 0 && x.shape(1) % a.options.window == 0 &&
                 x.shape(2) % a.options.window == 0,
             name, " of ", x);
}

void forward(const Tensor& y, const Tensor& x, const ResidualWindowAttention& a) {
  check(kernels::residual_window_attention_forward.name(), x, a);
  if (x.dtype() == DType::f64) return reference::residual_window_attention_forward(y, x, a);
  forward_f32(y, x, a, Geometry(x, a.options));
}

void backward(const ResidualWindowAttentionGradients& gradients, const Tensor& dy, const Tensor& x,
              const ResidualWindowAttention& a) {
  check(kernels::residual_window_attention_backward.name(), x, a);
  if (x.dtype() == DType::f64) return reference::residual_window_attention_backward(gradients, dy, x, a);
  backward_f32(gradients, dy, x, a, Geometry(x, a.options));
}

}  // namespace

void register_attention_kernels() {
  kernels::residual_window_attention_forward.set(DeviceKind::cpu, forward);
  kernels::residual_window_attention_backward.set(DeviceKind::cpu, backward);
}

}  // namespace relume::cpu
