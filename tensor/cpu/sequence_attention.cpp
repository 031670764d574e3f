// Attention over whole sequences on the CPU, streaming (Dao et al. 2022): a block of queries meets the keys and values block by
// block in the cache, with a running maximum and sum for every query, so that memory sees no scores. Scores lie transposed, a
// row for every key: then the softmax runs along the lanes of vectors, and keys and values go into the products as they are.
// Blocks depend on the sizes alone and add up in a fixed order: the same result on any number of threads.
#include <algorithm>
#include <array>

#include "tensor/cpu/families.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/norm_rows.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/attention.h"
#include "tensor/cpu/widen.h"
#include "tensor/kernels/attention.h"
#include "tensor/scalar/math.h"

namespace relume::cpu {
namespace {

using kernels::AttentionGradients, kernels::AttentionOptions;

// Queries and keys of a block: a multiple of every tile's height, few enough for a second-level cache with heads of 64.
constexpr int64_t block_rows = rows_together;
constexpr float hidden_score = -1e30f;  // of keys that a query must not see: their probability is 0

int64_t blocks_of(int64_t rows) { return (rows + block_rows - 1) / block_rows; }

// A block of rows in scratch. They are an odd number of cache lines apart, so that a column of them falls into all sets of the
// first-level cache.
class Block {
 public:
  explicit Block(int64_t columns, int64_t rows = block_rows) : pitch(round_up(columns, 32) + 16), data_(rows * pitch) {}
  float* row(int64_t i) const { return data_.data() + i * pitch; }
  LeftFactor left() const { return {row(0), pitch, 1}; }
  LeftFactor transposed() const { return {row(0), 1, pitch}; }
  RightFactor right() const { return {row(0), pitch}; }
  const int64_t pitch;

 private:
  Floats data_;
};

struct Head {
  int64_t sample, head;
};

// Rows begin .. begin + count of a sequence.
struct Span {
  Span(int64_t block, int64_t length) : begin(block * block_rows), count(std::min(block_rows, length - begin)) {}
  int64_t begin, count;
};

// A tensor [N, L, heads * width]: the rows of one sample and head after another.
template <class T> struct Sequences {
  Sequences(const Tensor& t, int heads_)
      : data(t ? t.data<T>() : nullptr),
        pitch(t ? t.pitch() : 0),
        length(t ? t.shape(1) : 0),
        width(t ? t.shape(2) / heads_ : 0) {}
  T* row(Head h, int64_t i) const { return data + (h.sample * length + i) * pitch + h.head * width; }
  explicit operator bool() const { return data != nullptr; }

  // to = scale * the rows of the span, with rows of zeros up to a whole vector of rows.
  void read(const Block& to, Head h, const Span& span, float scale = 1) const {
    for (int64_t i = 0; i < span.count; ++i) {
      const T* from = row(h, span.begin + i);
      float* line = to.row(i);
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) line[c] = scale * get(from[c]);
    }
    for (int64_t i = span.count; i < round_up(span.count, lanes); ++i) std::fill_n(to.row(i), round_up(width, lanes), 0.f);
  }

  T* data;
  int64_t pitch, length, width;
};

struct Geometry {
  Geometry(const Tensor& q, const Tensor& k, const AttentionOptions& o)
      : heads(o.heads),
        head_dim(q.shape(2) / o.heads),
        queries(q.shape(1)),
        keys(k.shape(1)),
        all_heads(q.shape(0) * o.heads),
        scale(float(o.scale)),
        causal(o.causal) {}
  Head head(int64_t i) const { return {i / heads, i % heads}; }
  bool sees(const Span& q, const Span& k) const { return !causal || k.begin < q.begin + q.count; }

  // scores [keys, queries] = keys queries^T; `queries` is [head_dim, queries].
  void score(const Block& scores, const Block& k, const Block& queries_t, const Span& ks, const Span& qs) const {
    multiply(scores.row(0), scores.pitch, ks.count, qs.count, head_dim, k.left(), queries_t.right());
    if (!causal) return;
    for (int64_t j = std::max<int64_t>(0, qs.begin - ks.begin + 1); j < ks.count; ++j)
      std::fill_n(scores.row(j), std::min(qs.count, ks.begin + j - qs.begin), hidden_score);
  }
  void transpose_rows(const Block& to, const Block& from, const Span& rows) const {
    transpose(to.row(0), to.pitch, from.row(0), from.pitch, round_up(rows.count, lanes), round_up(head_dim, lanes));
  }

  int64_t heads, head_dim, queries, keys, all_heads;
  float scale;
  bool causal;
};

// ---- Forward ----------------------------------------------------------------------------------------------------------------

// The softmax of a block of queries over keys that come block by block: of every query, the maximum and the sum so far.
class RunningSoftmax {
 public:
  explicit RunningSoftmax(int64_t queries) : queries_(round_up(queries, lanes)) { std::fill_n(top_, queries_, hidden_score); }

  // Scores to their exponentials, of which those of earlier blocks have to be multiplied with factor().
  void add(const Block& scores, int64_t keys) {
    float before[block_rows], sum[block_rows] = {};
    std::copy_n(top_, queries_, before);
    for (int64_t j = 0; j < keys; ++j) {
      const float* row = scores.row(j);
#pragma omp simd
      for (int64_t i = 0; i < queries_; ++i) top_[i] = top_[i] > row[i] ? top_[i] : row[i];
    }
    for (int64_t j = 0; j < keys; ++j) {
      float* row = scores.row(j);
#pragma omp simd
      for (int64_t i = 0; i < queries_; ++i) {
        row[i] = math::exp(row[i] - top_[i]);
        sum[i] += row[i];
      }
    }
#pragma omp simd
    for (int64_t i = 0; i < queries_; ++i) {
      factor_[i] = math::exp(before[i] - top_[i]);
      sum_[i] = sum_[i] * factor_[i] + sum[i];
    }
  }
  float factor(int64_t query) const { return factor_[query]; }
  float sum(int64_t query) const { return sum_[query]; }
  float log_sum(int64_t query) const { return top_[query] + math::log(sum_[query]); }

 private:
  int64_t queries_;
  float top_[block_rows], sum_[block_rows] = {}, factor_[block_rows];
};

template <class T> void forward_streaming(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                                          const AttentionOptions& o) {
  const Geometry g(q, k, o);
  const Sequences<T> query_rows(q, o.heads), key_rows(k, o.heads), value_rows(v, o.heads), out_rows(y, o.heads);
  const Sequences<float> log_sums(lse, o.heads);
  const int64_t blocks = blocks_of(g.queries), padded = round_up(g.head_dim, lanes);
  parallel_for(g.all_heads * blocks, 1, [&](int64_t task, int64_t) {
    const FlushSubnormals guard;
    const Head head = g.head(task / blocks);
    const Span qs(task % blocks, g.queries);
    const Block rows(g.head_dim), columns(block_rows, padded), scores(block_rows), keys(g.head_dim), values(g.head_dim),
        out(g.head_dim);
    RunningSoftmax softmax(qs.count);
    query_rows.read(rows, head, qs, g.scale);
    g.transpose_rows(columns, rows, qs);
    std::fill_n(out.row(0), block_rows * out.pitch, 0.f);
    for (int64_t block = 0; block < blocks_of(g.keys); ++block) {
      const Span ks(block, g.keys);
      if (!g.sees(qs, ks)) break;
      key_rows.read(keys, head, ks);
      value_rows.read(values, head, ks);
      g.score(scores, keys, columns, ks, qs);
      softmax.add(scores, ks.count);
      product(
          {qs.count, padded, ks.count}, scores.transposed(), values.right(), [](int64_t, int64_t) { return Vec{}; },
          [&](int64_t i, int64_t c, Vec sum) {
            float* const to = out.row(i) + c;
            store(to, load(to) * splat(softmax.factor(i)) + sum);
          });
    }
    for (int64_t i = 0; i < qs.count; ++i) {
      const float *from = out.row(i), inverse = 1 / softmax.sum(i);
      T* to = out_rows.row(head, qs.begin + i);
#pragma omp simd
      for (int64_t c = 0; c < g.head_dim; ++c) put(to[c], from[c] * inverse);
      if (log_sums) *log_sums.row(head, qs.begin + i) = softmax.log_sum(i);
    }
  });
}

// ---- Backward ---------------------------------------------------------------------------------------------------------------

// Adds products of blocks to the rows of a gradient.
struct GradientRows {
  GradientRows(const Tensor& t, int heads) : rows(t, heads) {}
  explicit operator bool() const { return bool(rows); }
  void add(Head head, const Span& to, int64_t depth, const LeftFactor& a, const RightFactor& b, float scale = 1) const {
    product(
        {to.count, round_up(rows.width, lanes), depth}, a, b, [](int64_t, int64_t) { return Vec{}; },
        [&](int64_t i, int64_t c, Vec sum) {
          float* const at = rows.row(head, to.begin + i) + c;
          const int64_t left = rows.width - c;
          store_first(at, load_first(at, left) + sum * splat(scale), left);
        });
  }
  Sequences<float> rows;
};

// With s = scale q k^T, p = exp(s - lse), D = rowsum(dy * y): dv = p^T dy, ds = p * (dy v^T - D), dq = scale ds k,
// dk = ds^T (scale q).
template <class T> class BackwardPass {
 public:
  BackwardPass(const AttentionGradients& gradients, const Tensor& dy, const Tensor& y, const Tensor& lse, const Tensor& q,
               const Tensor& k, const Tensor& v, const AttentionOptions& o)
      : g_(q, k, o),
        padded_(round_up(g_.head_dim, lanes)),
        queries_(q, o.heads),
        keys_(k, o.heads),
        values_(v, o.heads),
        dy_(dy, o.heads),
        log_sums_(lse, o.heads),
        dq_(gradients.dq, o.heads),
        dk_(gradients.dk, o.heads),
        dv_(gradients.dv, o.heads),
        means_tensor_(Tensor::scratch({q.shape(0), q.shape(1), o.heads}, DType::f32, {})),
        means_(means_tensor_, o.heads) {
    const Sequences<T> result(y, o.heads);
    parallel_for(g_.all_heads * g_.queries, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Head head = g_.head(i % g_.all_heads);
        const T *from = dy_.row(head, i / g_.all_heads), *of = result.row(head, i / g_.all_heads);
        *means_.row(head, i / g_.all_heads) =
            lane_sums<1>(g_.head_dim, [&](int64_t c) { return std::array{get(from[c]) * get(of[c])}; })[0];
      }
    });
  }

  // Every block of queries meets every block of keys. What is worked on at one time shares no block, so nothing is added to
  // from two sides, and always in the same order.
  void run() const {
    const int64_t query_blocks = blocks_of(g_.queries), key_blocks = blocks_of(g_.keys);
    const int64_t fewer = std::min(query_blocks, key_blocks), more = std::max(query_blocks, key_blocks);
    for (int64_t step = 0; step < more; ++step)
      parallel_for(g_.all_heads * fewer, 1, [&](int64_t task, int64_t) {
        const int64_t first = task % fewer, second = (first + step) % more;
        const Span qs(query_blocks == fewer ? first : second, g_.queries), ks(query_blocks == fewer ? second : first, g_.keys);
        if (g_.sees(qs, ks)) meet(g_.head(task / fewer), qs, ks);
      });
  }

 private:
  void meet(Head head, const Span& qs, const Span& ks) const {
    const FlushSubnormals guard;
    const Block q(g_.head_dim), columns(block_rows, padded_), k(g_.head_dim), dy(g_.head_dim), p(block_rows);
    queries_.read(q, head, qs, g_.scale);
    keys_.read(k, head, ks);
    dy_.read(dy, head, qs);
    g_.transpose_rows(columns, q, qs);
    g_.score(p, k, columns, ks, qs);
    float lse[block_rows] = {}, mean[block_rows] = {};
    for (int64_t i = 0; i < qs.count; ++i)
      lse[i] = *log_sums_.row(head, qs.begin + i), mean[i] = *means_.row(head, qs.begin + i);
    for_each_score(p, p, ks, qs, [&](float score, float, int64_t i) { return math::exp(score - lse[i]); });
    if (dv_) dv_.add(head, ks, qs.count, p.left(), dy.right());
    if (!dq_ && !dk_) return;

    const Block v(g_.head_dim), ds(block_rows);
    values_.read(v, head, ks);
    g_.transpose_rows(columns, dy, qs);
    multiply(ds.row(0), ds.pitch, ks.count, qs.count, g_.head_dim, v.left(), columns.right());
    for_each_score(ds, p, ks, qs, [&](float dp, float probability, int64_t i) { return probability * (dp - mean[i]); });
    if (dk_) dk_.add(head, ks, qs.count, ds.left(), q.right());
    if (dq_) dq_.add(head, qs, ks.count, ds.transposed(), k.right(), g_.scale);
  }

  // a = f(a, b, query)
  template <class F> static void for_each_score(const Block& a, const Block& b, const Span& ks, const Span& qs, F&& f) {
    for (int64_t j = 0; j < ks.count; ++j) {
      float* const to = a.row(j);
      const float* const with = b.row(j);
#pragma omp simd
      for (int64_t i = 0; i < round_up(qs.count, lanes); ++i) to[i] = f(to[i], with[i], i);
    }
  }

  Geometry g_;
  int64_t padded_;
  Sequences<T> queries_, keys_, values_, dy_;
  Sequences<float> log_sums_;
  GradientRows dq_, dk_, dv_;
  Tensor means_tensor_;
  Sequences<float> means_;
};

// ---- The slots --------------------------------------------------------------------------------------------------------------

// Calls f.operator()<T>() with the element type, f32 or narrower.
template <class F> void visit_narrow(const char* slot, const Tensor& t, F&& f) {
  visit_float(slot, t, [&]<class T>() {
    if constexpr (!std::is_same_v<T, double>) f.template operator()<T>();
  });
}

void forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  if (q.dtype() == DType::f64) return reference::attention_forward(y, lse, q, k, v, o);
  visit_narrow(kernels::attention_forward.name(), q, [&]<class T>() { forward_streaming<T>(y, lse, q, k, v, o); });
}

void backward(const AttentionGradients& gradients, const Tensor& dy, const Tensor& y, const Tensor& lse, const Tensor& q,
              const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  if (q.dtype() == DType::f64) return reference::attention_backward(gradients, dy, y, lse, q, k, v, o);
  const WidenedOutput dq(gradients.dq), dk(gradients.dk), dv(gradients.dv);  // sums are kept in f32
  for (const WidenedOutput* out : {&dq, &dk, &dv})
    if (out->tensor()) kernels::fill.on({})(out->tensor(), 0);
  visit_narrow(kernels::attention_backward.name(), q, [&]<class T>() {
    BackwardPass<T>({dq.tensor(), dk.tensor(), dv.tensor()}, dy, y, lse, q, k, v, o).run();
  });
  for (const WidenedOutput* out : {&dq, &dk, &dv}) out->store();
}

}  // namespace

void register_sequence_attention_kernels() {
  kernels::attention_forward.set(DeviceKind::cpu, forward);
  kernels::attention_backward.set(DeviceKind::cpu, backward);
}

}  // namespace relume::cpu
