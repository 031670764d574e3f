#include "tensor/cuda/streaming_attention.h"

#include "tensor/cuda/attention_sequences.h"
#include "tensor/cuda/block_product.h"
#include "tensor/cuda/streaming_attention_mma.h"
#include "tensor/scalar/convert.h"

namespace relume::cuda {
namespace {

using kernels::AttentionGradients, kernels::AttentionOptions;

constexpr int attention_threads = 256;
constexpr int row_lanes = 8;  // that share a row of scores
constexpr int most_rows = 64;

// How a block holds its share in shared memory: `own` tiles of `rows` tokens that stay (what comes in, and sums), `streamed`
// tiles of `columns` tokens that come one after another, scores, and three numbers for each row or column.
struct Plan {
  Plan(const char* name, const Sequences& s, int own, int streamed, Device device) : pitch(quad_pitch(s.head_dim)) {
    const size_t most = shared_bytes_per_block(device);
    const auto arrange = [&] {
      score_pitch = quad_pitch(columns);
      bytes = sizeof(float) * size_t((own * rows + streamed * columns) * pitch + rows * score_pitch + numbers * most_rows);
    };
    arrange();
    while (bytes > most && rows > product_side) {
      (columns == rows ? columns : rows) /= 2;
      arrange();
    }
    RELUME_CHECK(bytes <= most, name, ": heads of ", s.head_dim, " channels need ", bytes / 1024 + 1, " KB of the ",
                 most / 1024, " KB of shared memory that a block has on ", device, "; use more heads");
  }

  static constexpr int numbers = 3;
  int rows = most_rows, columns = most_rows, pitch, score_pitch;
  size_t bytes;
};

// Hands out the shared memory of a block.
struct Memory {
  __device__ Factor<false> tile(int rows, int pitch) {
    const Factor<false> taken{next, pitch};
    next += rows * pitch;
    return taken;
  }
  __device__ float* row_numbers() { return tile(1, most_rows).data; }
  float* next = dynamic_shared<float>();
};

// ---- Rows -------------------------------------------------------------------------------------------------------------------

// The tokens from `first` on; zeros behind the last, and up to the next multiple of 4 columns.
template <int N, class T>
static __device__ void load_rows(Factor<false> to, int rows, HeadRows<T> from, int64_t first, int head_dim) {
  const int packs = whole_quads(head_dim) / N;
  for (int item = int(threadIdx.x); item < rows * packs; item += attention_threads) {
    const int row = item / packs, column = (item - row * packs) * N;
    Pack<T, N> in{};
    if (first + row < from.tokens && column < head_dim) in = *reinterpret_cast<const Pack<T, N>*>(from.at(first + row, column));
    Pack<float, N> out;
    RELUME_UNROLL
    for (int n = 0; n < N; ++n) out.at[n] = get(in.at[n]);
    *reinterpret_cast<Pack<float, N>*>(&to.at(row, column)) = out;
  }
}

// Rows times factor(row), when all threads have given theirs.
template <int N, class T, class F>
static __device__ void store_rows(HeadRows<T> to, int64_t first, int rows, int head_dim, Factor<false> from, F&& factor) {
  sync_block();
  const int packs = head_dim / N;
  for (int item = int(threadIdx.x); item < rows * packs; item += attention_threads) {
    const int row = item / packs, column = (item - row * packs) * N;
    if (first + row >= to.tokens) return;
    Pack<T, N> out;
    RELUME_UNROLL
    for (int n = 0; n < N; ++n) put(out.at[n], from.at(row, column + n) * factor(row));
    *reinterpret_cast<Pack<T, N>*>(to.at(first + row, column)) = out;
  }
}

static __device__ void load_numbers(float* to, int count, HeadRows<float> from, int64_t first) {
  for (int i = int(threadIdx.x); i < count; i += attention_threads) to[i] = first + i < from.tokens ? *from.at(first + i) : 0;
}

static __device__ void clear_rows(Factor<false> tile, int rows) {
  for (int i = int(threadIdx.x); i < rows * tile.pitch; i += attention_threads) tile.data[i] = 0;
}

// sums[i, c] += the product of scores, or of their transpose, with the rows of a streamed tile.
static __device__ void add_product(Factor<false> sums, int rows, int columns, int head_dim, Factor<false> scores,
                                   Factor<false> streamed) {
  block_product(rows, head_dim, columns, scores, streamed.transposed(),
                [&](int i, int c, float value) { sums.at(i, c) += value; });
}

// ---- Forward ----------------------------------------------------------------------------------------------------------------

// The softmax of rows of which more and more columns become known.
struct RunningSoftmax {
  float *largest, *sum, *factor;

  // Scores become e^(score - the largest yet), `factor` what earlier sums over the row are to be multiplied with.
  __device__ void take(Factor<false> scores, int rows, int columns, bool is_first) const {
    const int lane = int(threadIdx.x) % row_lanes;
    for (int row = int(threadIdx.x) / row_lanes; row < rows; row += attention_threads / row_lanes) {
      const float before = is_first || lane != 0 ? no_score : largest[row];  // lane 0 alone reads what it writes
      float most = before, total = 0;
      for (int j = lane; j < columns; j += row_lanes) most = std::max(most, scores.at(row, j));
      for (int bits = row_lanes / 2; bits > 0; bits /= 2) most = std::max(most, shuffle_xor(most, bits));
      for (int j = lane; j < columns; j += row_lanes) total += scores.at(row, j) = math::exp(scores.at(row, j) - most);
      for (int bits = row_lanes / 2; bits > 0; bits /= 2) total += shuffle_xor(total, bits);
      if (lane != 0) continue;
      factor[row] = is_first ? 0 : math::exp(before - most);
      sum[row] = is_first ? total : math::fma(sum[row], factor[row], total);
      largest[row] = most;
    }
  }
};

template <int N, class T> static __global__ void attend(Sequences s, Plan p, Rows<T> y_map, MaybeRows<float> lse, Rows<T> q_map,
                                                        Rows<T> k_map, Rows<T> v_map) {
  const BlockPart part(s, p.rows, s.queries);
  const auto head_of = [&](Rows<T> map, int64_t tokens) { return HeadRows<T>(map, part.sample, tokens, part.column); };
  const HeadRows<T> k_rows = head_of(k_map, s.keys), v_rows = head_of(v_map, s.keys);
  Memory memory;
  const Factor<false> q = memory.tile(p.rows, p.pitch), out = memory.tile(p.rows, p.pitch),
                      streamed = memory.tile(p.columns, p.pitch), scores = memory.tile(p.rows, p.score_pitch);
  const RunningSoftmax softmax{memory.row_numbers(), memory.row_numbers(), memory.row_numbers()};

  load_rows<N>(q, p.rows, head_of(q_map, s.queries), part.first, s.head_dim);
  clear_rows(out, p.rows);
  const int64_t end = s.keys_seen(part.first + p.rows);
  for (int64_t j = 0; j < end; j += p.columns) {
    load_rows<N>(streamed, p.columns, k_rows, j, s.head_dim);
    sync_block();
    block_product(p.rows, p.columns, s.head_dim, q, streamed, [&](int i, int c, float product) {
      scores.at(i, c) = s.sees(part.first + i, j + c) ? s.scale * product : no_score;
    });
    sync_block();
    load_rows<N>(streamed, p.columns, v_rows, j, s.head_dim);
    softmax.take(scores, p.rows, p.columns, j == 0);
    sync_block();
    block_product(p.rows, s.head_dim, p.columns, scores, streamed.transposed(),
                  [&](int i, int c, float value) { out.at(i, c) = math::fma(out.at(i, c), softmax.factor[i], value); });
    sync_block();
  }
  store_rows<N>(head_of(y_map, s.queries), part.first, p.rows, s.head_dim, out, [&](int i) { return 1 / softmax.sum[i]; });
  if (!lse.data) return;
  for (int i = int(threadIdx.x); i < p.rows && part.first + i < s.queries; i += attention_threads)
    *lse.at(part.sample * s.queries + part.first + i, part.head) = softmax.largest[i] + math::log(softmax.sum[i]);
}

// ---- Backward ---------------------------------------------------------------------------------------------------------------

// With p = e^(score - lse), delta = rowsum(dy * y) and dp = dy v^T: dscore = p * (dp - delta), dv = p^T dy,
// dq = scale dscore k, dk = scale dscore^T q.

// delta [rows, heads], a warp for each.
template <class T>
static __global__ void sum_of_products(int64_t count, int heads, int head_dim, float* delta, Rows<T> dy, Rows<T> y) {
  constexpr int together = loop_threads / warp_size;
  for (int64_t i = int64_t(blockIdx.x) * together + threadIdx.x / warp_size; i < count; i += int64_t(gridDim.x) * together) {
    const int64_t row = i / heads;
    const int first = int(i - row * heads) * head_dim;
    float sum = 0;
    for (int c = int(threadIdx.x) % warp_size; c < head_dim; c += warp_size)
      sum = math::fma(get(*dy.at(row, first + c)), get(*y.at(row, first + c)), sum);
    sum = warp_sum(sum);
    if (threadIdx.x % warp_size == 0) delta[i] = sum;
  }
}

template <int N, class T> static __global__ void attend_query_gradient(Sequences s, Plan p, Rows<T> dq_map, Rows<T> dy_map,
                                                                       Rows<float> lse_map, Rows<float> delta_map,
                                                                       Rows<T> q_map, Rows<T> k_map, Rows<T> v_map) {
  const BlockPart part(s, p.rows, s.queries);
  const auto head_of = [&](Rows<T> map, int64_t tokens) { return HeadRows<T>(map, part.sample, tokens, part.column); };
  const HeadRows<T> k_rows = head_of(k_map, s.keys), v_rows = head_of(v_map, s.keys);
  Memory memory;
  const Factor<false> q = memory.tile(p.rows, p.pitch), dy = memory.tile(p.rows, p.pitch), dq = memory.tile(p.rows, p.pitch),
                      streamed = memory.tile(p.columns, p.pitch), scores = memory.tile(p.rows, p.score_pitch);
  float *const lse = memory.row_numbers(), *const delta = memory.row_numbers();

  load_rows<N>(q, p.rows, head_of(q_map, s.queries), part.first, s.head_dim);
  load_rows<N>(dy, p.rows, head_of(dy_map, s.queries), part.first, s.head_dim);
  load_numbers(lse, p.rows, HeadRows<float>(lse_map, part.sample, s.queries, part.head), part.first);
  load_numbers(delta, p.rows, HeadRows<float>(delta_map, part.sample, s.queries, part.head), part.first);
  clear_rows(dq, p.rows);
  const int64_t end = s.keys_seen(part.first + p.rows);
  for (int64_t j = 0; j < end; j += p.columns) {
    load_rows<N>(streamed, p.columns, v_rows, j, s.head_dim);
    sync_block();
    block_product(p.rows, p.columns, s.head_dim, dy, streamed,
                  [&](int i, int c, float product) { scores.at(i, c) = product - delta[i]; });
    sync_block();
    load_rows<N>(streamed, p.columns, k_rows, j, s.head_dim);
    sync_block();
    block_product(p.rows, p.columns, s.head_dim, q, streamed, [&](int i, int c, float product) {
      scores.at(i, c) = s.sees(part.first + i, j + c) ? scores.at(i, c) * math::exp(s.scale * product - lse[i]) : 0;
    });
    sync_block();
    add_product(dq, p.rows, p.columns, s.head_dim, scores, streamed);
    sync_block();
  }
  store_rows<N>(head_of(dq_map, s.queries), part.first, p.rows, s.head_dim, dq, [&](int) { return s.scale; });
}

template <int N, class T> static __global__ void attend_key_gradients(Sequences s, Plan p, MaybeRows<T> dk_map,
                                                                      MaybeRows<T> dv_map, Rows<T> dy_map, Rows<float> lse_map,
                                                                      Rows<float> delta_map, Rows<T> q_map, Rows<T> k_map,
                                                                      Rows<T> v_map) {
  const BlockPart part(s, p.rows, s.keys);
  const auto head_of = [&](auto map, int64_t tokens) { return HeadRows<T>(map, part.sample, tokens, part.column); };
  const HeadRows<T> q_rows = head_of(q_map, s.queries), dy_rows = head_of(dy_map, s.queries);
  const HeadRows<float> lse_rows(lse_map, part.sample, s.queries, part.head),
      delta_rows(delta_map, part.sample, s.queries, part.head);
  Memory memory;
  const auto own_tile = [&] { return memory.tile(p.rows, p.pitch); };
  const Factor<false> k = own_tile(), v = own_tile(), dk = own_tile(), dv = own_tile(), q = memory.tile(p.columns, p.pitch),
                      dy = memory.tile(p.columns, p.pitch), scores = memory.tile(p.rows, p.score_pitch);
  float *const lse = memory.row_numbers(), *const delta = memory.row_numbers();

  load_rows<N>(k, p.rows, head_of(k_map, s.keys), part.first, s.head_dim);
  load_rows<N>(v, p.rows, head_of(v_map, s.keys), part.first, s.head_dim);
  clear_rows(dk, p.rows), clear_rows(dv, p.rows);
  for (int64_t j = s.first_seeing(part.first); j < s.queries; j += p.columns) {
    load_rows<N>(q, p.columns, q_rows, j, s.head_dim);
    load_rows<N>(dy, p.columns, dy_rows, j, s.head_dim);
    load_numbers(lse, p.columns, lse_rows, j), load_numbers(delta, p.columns, delta_rows, j);
    sync_block();
    block_product(p.rows, p.columns, s.head_dim, k, q, [&](int i, int c, float product) {
      scores.at(i, c) = s.sees(j + c, part.first + i) ? math::exp(s.scale * product - lse[c]) : 0;
    });
    sync_block();
    add_product(dv, p.rows, p.columns, s.head_dim, scores, dy);
    sync_block();
    block_product(p.rows, p.columns, s.head_dim, v, dy,
                  [&](int i, int c, float product) { scores.at(i, c) *= product - delta[c]; });
    sync_block();
    add_product(dk, p.rows, p.columns, s.head_dim, scores, q);
    sync_block();
  }
  const auto store = [&](MaybeRows<T> to, Factor<false> from, float factor) {
    if (to.data) store_rows<N>(head_of(to, s.keys), part.first, p.rows, s.head_dim, from, [&](int) { return factor; });
  };
  store(dk_map, dk, s.scale), store(dv_map, dv, 1);
}

// ---- Launches ---------------------------------------------------------------------------------------------------------------

// Calls f(N), the numbers that move at once: 16 bytes of float where every head's rows in all maps lie on them.
template <class T, class F, class... Maps> void with_packs(const Sequences& s, F&& f, const Maps&... maps) {
  if constexpr (std::is_same_v<T, float>)
    if (s.head_dim % product_side == 0 && ((!maps || packs_fit<T, product_side>(maps, false)) && ...))
      return f(std::integral_constant<int, product_side>{});
  f(std::integral_constant<int, 1>{});
}

template <class T> void forward(const char* name, const Sequences& s, const Tensor& y, const Tensor& lse, const Tensor& q,
                                const Tensor& k, const Tensor& v) {
  const Plan plan(name, s, 2, 1, q.device());
  with_packs<T>(
      s,
      [&](auto width) {
        launch(name, attend<decltype(width)::value, T>, parts_grid(s, plan.rows, s.queries), attention_threads, plan.bytes,
               stream(q.device()), s, plan, Rows<T>(y), MaybeRows<float>(lse), Rows<T>(q), Rows<T>(k), Rows<T>(v));
      },
      y, q, k, v);
}

template <class T> Tensor delta_of(const char* name, const Sequences& s, const Tensor& dy, const Tensor& y) {
  const Tensor delta = Tensor::scratch({s.samples, s.queries, s.heads}, DType::f32, y.device());
  launch(name, sum_of_products<T>, loop_grid(delta.numel() * warp_size, y.device()), loop_threads, 0, stream(y.device()),
         delta.numel(), s.heads, s.head_dim, delta.data<float>(), Rows<T>(dy), Rows<T>(y));
  return delta;
}

template <class T> void backward(const char* name, const Sequences& s, const AttentionGradients& g, const Tensor& dy,
                                 const Tensor& lse, const Tensor& delta, const Tensor& q, const Tensor& k, const Tensor& v) {
  const Rows<float> log_sums(lse), deltas(delta);
  with_packs<T>(
      s,
      [&](auto width) {
        constexpr int N = decltype(width)::value;
        if (g.dq && q.numel() > 0) {
          const Plan plan(name, s, 3, 1, q.device());
          launch(name, attend_query_gradient<N, T>, parts_grid(s, plan.rows, s.queries), attention_threads, plan.bytes,
                 stream(q.device()), s, plan, Rows<T>(g.dq), Rows<T>(dy), log_sums, deltas, Rows<T>(q), Rows<T>(k), Rows<T>(v));
        }
        if ((g.dk || g.dv) && k.numel() > 0) {
          const Plan plan(name, s, 4, 2, q.device());
          launch(name, attend_key_gradients<N, T>, parts_grid(s, plan.rows, s.keys), attention_threads, plan.bytes,
                 stream(q.device()), s, plan, MaybeRows<T>(g.dk), MaybeRows<T>(g.dv), Rows<T>(dy), log_sums, deltas, Rows<T>(q),
                 Rows<T>(k), Rows<T>(v));
        }
      },
      g.dq, g.dk, g.dv, dy, q, k, v);
}

}  // namespace

void streaming_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionOptions& options) {
  const char* const name = kernels::attention_forward.name();
  const Sequences s(q, k, options);
  if (y.numel() == 0) return;
  RELUME_BUG(s.keys > 0, name, ": no keys for ", q);
  visit_float(name, q, [&]<class T>() {
    if constexpr (is_16bit<T>)
      if (fits_tensor_cores<T>(s, {y, q, k, v})) return attend_on_tensor_cores<T>(name, s, y, lse, q, k, v);
    forward<T>(name, s, y, lse, q, k, v);
  });
}

void streaming_attention_backward(const AttentionGradients& gradients, const Tensor& dy, const Tensor& y, const Tensor& lse,
                                  const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  const char* const name = kernels::attention_backward.name();
  const Sequences s(q, k, options);
  if (q.numel() == 0 && k.numel() == 0) return;
  visit_float(name, q, [&]<class T>() {
    const Tensor delta = delta_of<T>(name, s, dy, y);
    if constexpr (is_16bit<T>)
      if (fits_tensor_cores<T>(s, {gradients.dq, gradients.dk, gradients.dv, dy, q, k, v}))
        return gradients_on_tensor_cores<T>(name, s, gradients, dy, lse, delta, q, k, v);
    backward<T>(name, s, gradients, dy, lse, delta, q, k, v);
  });
}

}  // namespace relume::cuda
