#include "tensor/cuda/streaming_attention_mma.h"

#include "tensor/cuda/mma.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

using kernels::AttentionGradients;

constexpr int warps = 8, attention_threads = warps * warp_size;

// How a block divides its work, for heads of up to 64 * tiles channels. It keeps `rows` tokens and has `columns` others come
// one tile after another. Scores [rows, columns] are divided among the warps both ways, 16 rows each; sums over the columns,
// [rows, channels], stay in registers, all rows and 8 * tiles channels to a warp.
template <class Element, int tiles_, int rows_, int columns_> struct Tiling {
  using T = Element;
  static constexpr int tiles = tiles_, rows = rows_, columns = columns_;
  static constexpr int share = 8 * tiles, width = warps * share;
  static constexpr int pitch = width + 8, score_pitch = columns + 8;  // eight neighbouring rows begin in different banks
  static constexpr int row_warps = rows / 16, column_warps = warps / row_warps, score_tiles = columns / column_warps / 8;
  static constexpr int row_tiles = rows / 16;
  using Scores = float[score_tiles][4];
  using Sums = float[row_tiles][tiles][4];
};

static __device__ int lane_id() { return int(threadIdx.x) % warp_size; }
static __device__ int warp_id() { return int(threadIdx.x) / warp_size; }

// Which scores of a block a warp has, and where in them the lane's are: number i of tile t.
template <class C> struct ScorePlace {
  __device__ int row(int i) const { return first_row + lane_id() / 4 + i / 2 * 8; }
  __device__ int column(int t, int i) const { return first_column + t * 8 + lane_id() % 4 * 2 + i % 2; }
  __device__ int column_warp() const { return warp_id() / C::row_warps; }
  // Of the lanes that share a row, one does what is done once for each.
  __device__ bool leads_row() const { return lane_id() % 4 == 0; }

  int first_row = warp_id() % C::row_warps * 16;
  int first_column = column_warp() * C::score_tiles * 8;
};

template <class C, class F> static __device__ void for_scores(F&& f) {
  const ScorePlace<C> place;
  RELUME_UNROLL
  for (int t = 0; t < C::score_tiles; ++t)
    RELUME_UNROLL
    for (int i = 0; i < 4; ++i) f(t, i, place.row(i), place.column(t, i));
}

// Over the lanes that share a row.
template <class F> static __device__ float over_lanes(float x, F&& f) {
  for (int bits = 1; bits < 4; bits *= 2) x = f(x, shuffle_xor(x, bits));
  return x;
}
static __device__ float largest_of_lanes(float x) {
  return over_lanes(x, [](float a, float b) { return std::max(a, b); });
}
static __device__ float sum_of_lanes(float x) {
  return over_lanes(x, [](float a, float b) { return a + b; });
}

// ---- Rows -------------------------------------------------------------------------------------------------------------------

// Starts the copies of tokens from `first` on; zeros behind the last, and behind the head's channels.
template <class C, int rows, class T> static __device__ void start_copy(T* to, HeadRows<T> from, int64_t first, int head_dim) {
  constexpr int pack = pack_size<T>, packs = C::width / pack;
  for (int item = int(threadIdx.x); item < rows * packs; item += attention_threads) {
    const int row = item / packs, column = item % packs * pack;
    const bool inside = first + row < from.tokens && column < head_dim;
    cp_async(to + row * C::pitch + column, inside ? from.at(first + row, column) : from.data, inside);
  }
}

// Sums times factor(row), through shared memory, so that 16 bytes are written at once.
template <class C, class T, class F> static __device__ void store_sums(HeadRows<T> to, int64_t first, int head_dim, T* stage,
                                                                       const typename C::Sums& sums, F&& factor) {
  sync_block();  // the stage may still be read
  RELUME_UNROLL
  for (int m = 0; m < C::row_tiles; ++m)
    RELUME_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = m * 16 + half * 8 + lane_id() / 4;
      const float scale = factor(row);
      T* const at = stage + row * C::pitch + warp_id() * C::share + lane_id() % 4 * 2;
      RELUME_UNROLL
      for (int t = 0; t < C::tiles; ++t) {
        Pack<T, 2> pair;
        put(pair.at[0], sums[m][t][2 * half] * scale), put(pair.at[1], sums[m][t][2 * half + 1] * scale);
        *reinterpret_cast<Pack<T, 2>*>(at + t * 8) = pair;
      }
    }
  sync_block();
  constexpr int pack = pack_size<T>;
  const int packs = head_dim / pack;
  for (int item = int(threadIdx.x); item < C::rows * packs; item += attention_threads) {
    const int row = item / packs, column = (item - row * packs) * pack;
    if (first + row >= to.tokens) return;
    *reinterpret_cast<Pack<T, pack>*>(to.at(first + row, column)) =
        *reinterpret_cast<const Pack<T, pack>*>(stage + row * C::pitch + column);
  }
}

// ---- Products ---------------------------------------------------------------------------------------------------------------

// scores = own streamed^T over the channels, `own` and `streamed` as start_copy() lays them out.
template <class C, class T>
static __device__ void score_product(typename C::Scores& scores, const T* own, const T* streamed, int head_dim) {
  constexpr int together = std::min(2, C::score_tiles);  // tiles that one load gives
  const ScorePlace<C> place;
  const int lane = lane_id();
  const T* const a = own + (place.first_row + lane % 16) * C::pitch + lane / 16 * 8;
  const T* const b = streamed + (place.first_column + lane / 16 % together * 8 + lane % 8) * C::pitch + lane / 8 % 2 * 8;
  for_scores<C>([&](int t, int i, int, int) { scores[t][i] = 0; });
  for (int c = 0; c < head_dim; c += 16) {
    uint32_t x[4];
    ldmatrix<4>(x, a + c);
    RELUME_UNROLL
    for (int t = 0; t < C::score_tiles; t += together) {
      uint32_t y[2 * together];
      ldmatrix<2 * together>(y, b + t * 8 * C::pitch + c);
      RELUME_UNROLL
      for (int n = 0; n < together; ++n) mma_m16n8k16<T>(scores[t + n], x, y[2 * n], y[2 * n + 1]);
    }
  }
}

// Scores in the type of the products to come.
template <class C, class T> static __device__ void write_scores(T* to, const typename C::Scores& scores) {
  const ScorePlace<C> place;
  RELUME_UNROLL
  for (int t = 0; t < C::score_tiles; ++t)
    RELUME_UNROLL
    for (int i = 0; i < 4; i += 2) {
      Pack<T, 2> pair;
      put(pair.at[0], scores[t][i]), put(pair.at[1], scores[t][i + 1]);
      *reinterpret_cast<Pack<T, 2>*>(to + place.row(i) * C::score_pitch + place.column(t, i)) = pair;
    }
}

// sums += scores streamed, for scores as write_scores() lays them out.
template <class C, class T> static __device__ void add_product(typename C::Sums& sums, const T* scores, const T* streamed) {
  constexpr int together = std::min(2, C::tiles);
  const int lane = lane_id();
  const T* const a = scores + lane % 16 * C::score_pitch + lane / 16 * 8;
  const T* const b = streamed + lane % 16 * C::pitch + warp_id() * C::share + lane / 16 % together * 8;
  for (int k = 0; k < C::columns; k += 16) {
    uint32_t x[C::row_tiles][4];
    RELUME_UNROLL
    for (int m = 0; m < C::row_tiles; ++m) ldmatrix<4>(x[m], a + m * 16 * C::score_pitch + k);
    RELUME_UNROLL
    for (int t = 0; t < C::tiles; t += together) {
      uint32_t y[2 * together];
      ldmatrix<2 * together, true>(y, b + k * C::pitch + t * 8);
      RELUME_UNROLL
      for (int n = 0; n < together; ++n)
        RELUME_UNROLL
        for (int m = 0; m < C::row_tiles; ++m) mma_m16n8k16<T>(sums[m][t + n], x[m], y[2 * n], y[2 * n + 1]);
    }
  }
}

// ---- Forward ----------------------------------------------------------------------------------------------------------------

// The softmax of rows of which more and more columns become known. The warps that share rows tell each other through shared
// memory; a lane has two rows.
template <class C> struct RunningSoftmax {
  static constexpr int numbers = (C::column_warps + 1) * C::rows;

  // Tells the others the largest of the warp's scores.
  __device__ void tell_largest(const typename C::Scores& scores) const {
    float most[2] = {no_score, no_score};
    for_scores<C>([&](int t, int i, int, int) { most[i / 2] = std::max(most[i / 2], scores[t][i]); });
    tell(largest_of_lanes(most[0]), largest_of_lanes(most[1]));
  }
  // Behind a barrier: scores become e^(score - the largest yet), `factor` what earlier sums are to be multiplied with.
  __device__ void take(typename C::Scores& scores) {
    const ScorePlace<C> place;
    RELUME_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = place.row(2 * half);
      float most = largest[half];
      for (int w = 0; w < C::column_warps; ++w) most = std::max(most, told[w * C::rows + row]);
      const float rescale = math::exp(largest[half] - most);
      largest[half] = most, sum[half] *= rescale;
      if (place.leads_row() && place.column_warp() == 0) factor[row] = rescale;
    }
    for_scores<C>([&](int t, int i, int, int) { sum[i / 2] += scores[t][i] = math::exp(scores[t][i] - largest[i / 2]); });
  }
  // At the end, behind a barrier: tells the others the sum of the warp's columns, for row_sum() behind another.
  __device__ void tell_sums() const { tell(sum_of_lanes(sum[0]), sum_of_lanes(sum[1])); }
  __device__ float row_sum(int row) const {
    float total = 0;
    for (int w = 0; w < C::column_warps; ++w) total += told[w * C::rows + row];
    return total;
  }

  __device__ void tell(float of_first, float of_second) const {
    const ScorePlace<C> place;
    if (!place.leads_row()) return;
    float* const to = told + place.column_warp() * C::rows;
    to[place.row(0)] = of_first, to[place.row(2)] = of_second;
  }

  float *told, *factor;  // [column_warps, rows], [rows]
  float largest[2] = {no_score, no_score}, sum[2] = {};
};

template <class C> static __device__ void rescale_sums(typename C::Sums& sums, const float* factor) {
  RELUME_UNROLL
  for (int m = 0; m < C::row_tiles; ++m)
    RELUME_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float f = factor[m * 16 + half * 8 + lane_id() / 4];
      RELUME_UNROLL
      for (int t = 0; t < C::tiles; ++t) sums[m][t][2 * half] *= f, sums[m][t][2 * half + 1] *= f;
    }
}

// What a block holds in shared memory.
template <class C> struct ForwardMemory {
  using T = typename C::T;
  T *q, *k, *v, *probabilities;
  float* numbers;  // of the softmax

  __device__ ForwardMemory()
      : q(dynamic_shared<T>()),
        k(q + C::rows * C::pitch),
        v(k + C::columns * C::pitch),
        probabilities(v + C::columns * C::pitch),
        numbers(reinterpret_cast<float*>(probabilities + C::rows * C::score_pitch)) {}
  static constexpr size_t bytes = sizeof(T) * ((C::rows + 2 * C::columns) * C::pitch + C::rows * C::score_pitch) +
                                  sizeof(float) * RunningSoftmax<C>::numbers;
};

// While scores are computed from a tile of keys, its values arrive; while those are summed, the next keys.
template <class C, class T = typename C::T>
static __global__ void attend(Sequences s, Rows<T> y_map, MaybeRows<float> lse, Rows<T> q_map, Rows<T> k_map, Rows<T> v_map) {
  const BlockPart part(s, C::rows, s.queries);
  const HeadRows<T> k_rows(k_map, part.sample, s.keys, part.column), v_rows(v_map, part.sample, s.keys, part.column);
  const ForwardMemory<C> held;
  RunningSoftmax<C> softmax{held.numbers, held.numbers + C::column_warps * C::rows};

  start_copy<C, C::rows>(held.q, HeadRows<T>(q_map, part.sample, s.queries, part.column), part.first, s.head_dim);
  start_copy<C, C::columns>(held.k, k_rows, 0, s.head_dim);
  cp_async_commit();
  typename C::Sums sums = {};
  const int64_t end = s.keys_seen(part.first + C::rows);
  for (int64_t j = 0; j < end; j += C::columns) {
    cp_async_wait<0>();
    sync_block();
    start_copy<C, C::columns>(held.v, v_rows, j, s.head_dim);
    cp_async_commit();
    typename C::Scores scores;
    score_product<C>(scores, held.q, held.k, s.head_dim);
    for_scores<C>([&](int t, int i, int row, int column) {
      scores[t][i] = s.sees(part.first + row, j + column) ? s.scale * scores[t][i] : no_score;
    });
    softmax.tell_largest(scores);
    sync_block();
    if (j + C::columns < end) start_copy<C, C::columns>(held.k, k_rows, j + C::columns, s.head_dim);
    cp_async_commit();
    softmax.take(scores);
    write_scores<C>(held.probabilities, scores);
    cp_async_wait<1>();
    sync_block();
    rescale_sums<C>(sums, softmax.factor);
    add_product<C>(sums, held.probabilities, held.v);
  }
  softmax.tell_sums();
  store_sums<C>(HeadRows<T>(y_map, part.sample, s.queries, part.column), part.first, s.head_dim, held.q, sums,
                [&](int row) { return 1 / softmax.row_sum(row); });
  const ScorePlace<C> place;
  if (!lse.data || !place.leads_row() || place.column_warp() != 0) return;
  RELUME_UNROLL
  for (int half = 0; half < 2; ++half)
    if (const int row = place.row(2 * half); part.first + row < s.queries)
      *lse.at(part.sample * s.queries + part.first + row, part.head) = softmax.largest[half] + math::log(softmax.row_sum(row));
}

// ---- Backward ---------------------------------------------------------------------------------------------------------------

// What a block holds in shared memory: its own q and dy, or k and v; one tile of the others; scores; and of the queries among
// them lse and delta.
template <class C, bool of_keys> struct BackwardMemory {
  using T = typename C::T;
  static constexpr int queries = of_keys ? C::columns : C::rows, score_tiles = of_keys ? 2 : 1;
  T *own_qk, *own_yv, *qk, *yv, *dscores, *probabilities;  // probabilities: where keys have gradients
  float *lse, *delta;

  __device__ BackwardMemory()
      : own_qk(dynamic_shared<T>()),
        own_yv(own_qk + C::rows * C::pitch),
        qk(own_yv + C::rows * C::pitch),
        yv(qk + C::columns * C::pitch),
        dscores(yv + C::columns * C::pitch),
        probabilities(dscores + (score_tiles - 1) * C::rows * C::score_pitch),
        lse(reinterpret_cast<float*>(probabilities + C::rows * C::score_pitch)),
        delta(lse + queries) {}
  static constexpr size_t bytes = sizeof(T) * (2 * (C::rows + C::columns) * C::pitch + score_tiles * C::rows * C::score_pitch) +
                                  sizeof(float) * 2 * queries;

  __device__ void load_numbers(const HeadRows<float>& lse_rows, const HeadRows<float>& delta_rows, int64_t first) const {
    for (int i = int(threadIdx.x); i < queries; i += attention_threads) {
      const bool inside = first + i < lse_rows.tokens;
      lse[i] = inside ? *lse_rows.at(first + i) : 0, delta[i] = inside ? *delta_rows.at(first + i) : 0;
    }
  }
};

// Products q k^T become probabilities, and products dy v^T the gradients of the scores. `first` is the first of the block's own
// tokens, `other` of those that came.
template <class C, bool of_keys>
static __device__ void differentiate(typename C::Scores& score, typename C::Scores& dscore, const Sequences& s,
                                     const BackwardMemory<C, of_keys>& held, int64_t first, int64_t other) {
  for_scores<C>([&](int t, int i, int row, int column) {
    const int query = of_keys ? column : row;
    const bool seen = of_keys ? s.sees(other + column, first + row) : s.sees(first + row, other + column);
    score[t][i] = seen ? math::exp(s.scale * score[t][i] - held.lse[query]) : 0;
    dscore[t][i] = score[t][i] * (dscore[t][i] - held.delta[query]);
  });
}

// Both passes of streaming_attention.cu: dq for a tile of queries with the keys coming by, or dk and dv for a tile of keys. The
// scores are products of q and k, their gradients' of dy and v: one of each stays, the other comes. What comes for the one
// product arrives during the other.
template <class C, bool of_keys, class T = typename C::T>
static __global__ void attend_gradients(Sequences s, MaybeRows<T> d_own_map, MaybeRows<T> dv_map, Rows<T> dy_map,
                                        Rows<float> lse_map, Rows<float> delta_map, Rows<T> q_map, Rows<T> k_map,
                                        Rows<T> v_map) {
  const int64_t own_tokens = of_keys ? s.keys : s.queries, other_tokens = of_keys ? s.queries : s.keys;
  const BlockPart part(s, C::rows, own_tokens);
  const auto own_rows = [&](const auto& map) { return HeadRows<T>(map, part.sample, own_tokens, part.column); };
  const auto other_rows = [&](const auto& map) { return HeadRows<T>(map, part.sample, other_tokens, part.column); };
  const HeadRows<T> other_qk = other_rows(of_keys ? q_map : k_map), other_yv = other_rows(of_keys ? dy_map : v_map);
  const HeadRows<float> lse_rows(lse_map, part.sample, s.queries, part.head),
      delta_rows(delta_map, part.sample, s.queries, part.head);

  const BackwardMemory<C, of_keys> held;

  const int64_t begin = of_keys ? s.first_seeing(part.first) : 0;
  const int64_t end = of_keys ? s.queries : s.keys_seen(part.first + C::rows);
  start_copy<C, C::rows>(held.own_qk, own_rows(of_keys ? k_map : q_map), part.first, s.head_dim);
  start_copy<C, C::rows>(held.own_yv, own_rows(of_keys ? v_map : dy_map), part.first, s.head_dim);
  start_copy<C, C::columns>(held.yv, other_yv, begin, s.head_dim);
  cp_async_commit();
  if (!of_keys) held.load_numbers(lse_rows, delta_rows, part.first);
  typename C::Sums d_own = {};
  [[maybe_unused]] typename C::Sums dv = {};
  for (int64_t j = begin; j < end; j += C::columns) {
    const auto start_next = [&] {
      if (j + C::columns < end) start_copy<C, C::columns>(held.yv, other_yv, j + C::columns, s.head_dim);
      cp_async_commit();
    };
    cp_async_wait<0>();
    sync_block();
    start_copy<C, C::columns>(held.qk, other_qk, j, s.head_dim);
    cp_async_commit();
    if (of_keys) held.load_numbers(lse_rows, delta_rows, j);
    typename C::Scores dscore, score;
    score_product<C>(dscore, held.own_yv, held.yv, s.head_dim);
    cp_async_wait<0>();
    sync_block();
    if (!of_keys) start_next();
    score_product<C>(score, held.own_qk, held.qk, s.head_dim);
    differentiate<C, of_keys>(score, dscore, s, held, part.first, j);
    write_scores<C>(held.dscores, dscore);
    if constexpr (of_keys) write_scores<C>(held.probabilities, score);
    sync_block();
    if constexpr (of_keys) {
      add_product<C>(dv, held.probabilities, held.yv);
      sync_block();
      start_next();
    }
    add_product<C>(d_own, held.dscores, held.qk);
  }
  cp_async_wait<0>();  // where nothing came by
  if (d_own_map.data)
    store_sums<C>(own_rows(d_own_map), part.first, s.head_dim, held.own_qk, d_own, [&](int) { return s.scale; });
  if constexpr (of_keys)
    if (dv_map.data) store_sums<C>(own_rows(dv_map), part.first, s.head_dim, held.own_qk, dv, [](int) { return 1.f; });
}

// ---- Launches ---------------------------------------------------------------------------------------------------------------

// Calls f(tiles) with the narrowest tiling that holds a head.
template <class F> void with_tiles(int head_dim, F&& f) {
  if (head_dim <= 64) return f(std::integral_constant<int, 1>{});
  if (head_dim <= 128) return f(std::integral_constant<int, 2>{});
  if (head_dim <= 256) return f(std::integral_constant<int, 4>{});
  f(std::integral_constant<int, 8>{});
}

void check_bytes(const char* name, const Sequences& s, size_t bytes, Device device) {
  const size_t most = shared_bytes_per_block(device);
  RELUME_CHECK(bytes <= most, name, ": heads of ", s.head_dim, " channels in 16 bits need ", bytes / 1024 + 1, " KB of the ",
               most / 1024, " KB of shared memory that a block has on ", device, "; use more heads, or f32");
}

template <class C> void launch_forward(const char* name, const Sequences& s, const Tensor& y, const Tensor& lse,
                                       const Tensor& q, const Tensor& k, const Tensor& v) {
  using T = typename C::T;
  constexpr size_t bytes = ForwardMemory<C>::bytes;
  check_bytes(name, s, bytes, q.device());
  launch(name, attend<C>, parts_grid(s, C::rows, s.queries), attention_threads, bytes, stream(q.device()), s, Rows<T>(y),
         MaybeRows<float>(lse), Rows<T>(q), Rows<T>(k), Rows<T>(v));
}

// d_own: dq, or dk of the keys.
template <class C, bool of_keys> void launch_gradients(const char* name, const Sequences& s, const Tensor& d_own,
                                                       const Tensor& dv, const Tensor& dy, const Tensor& lse,
                                                       const Tensor& delta, const Tensor& q, const Tensor& k, const Tensor& v) {
  using T = typename C::T;
  constexpr size_t bytes = BackwardMemory<C, of_keys>::bytes;
  check_bytes(name, s, bytes, q.device());
  launch(name, attend_gradients<C, of_keys>, parts_grid(s, C::rows, of_keys ? s.keys : s.queries), attention_threads, bytes,
         stream(q.device()), s, MaybeRows<T>(d_own), MaybeRows<T>(dv), Rows<T>(dy), Rows<float>(lse), Rows<float>(delta),
         Rows<T>(q), Rows<T>(k), Rows<T>(v));
}

}  // namespace

// The widest heads have two tilings each: one for the shared memory of compute capability 9.0, one for 8.0.

template <class T> void attend_on_tensor_cores(const char* name, const Sequences& s, const Tensor& y, const Tensor& lse,
                                               const Tensor& q, const Tensor& k, const Tensor& v) {
  with_tiles(s.head_dim, [&](auto width) {
    constexpr int tiles = decltype(width)::value;
    using Roomy = Tiling<T, tiles, 64, 64>;
    if constexpr (tiles == 8)
      if (ForwardMemory<Roomy>::bytes > shared_bytes_per_block(q.device()))
        return launch_forward<Tiling<T, tiles, 64, 32>>(name, s, y, lse, q, k, v);
    launch_forward<Roomy>(name, s, y, lse, q, k, v);
  });
}

template <class T> void gradients_on_tensor_cores(const char* name, const Sequences& s, const AttentionGradients& g,
                                                  const Tensor& dy, const Tensor& lse, const Tensor& delta, const Tensor& q,
                                                  const Tensor& k, const Tensor& v) {
  const auto run = [&]<class OfQueries, class OfKeys>(OfQueries, OfKeys) {
    if (g.dq && q.numel() > 0) launch_gradients<OfQueries, false>(name, s, g.dq, {}, dy, lse, delta, q, k, v);
    if ((g.dk || g.dv) && k.numel() > 0) launch_gradients<OfKeys, true>(name, s, g.dk, g.dv, dy, lse, delta, q, k, v);
  };
  with_tiles(s.head_dim, [&](auto width) {
    constexpr int tiles = decltype(width)::value;
    if constexpr (tiles < 8) {
      run(Tiling<T, tiles, 64, 64>{}, Tiling<T, tiles, 64, 64>{});
    } else {
      using Roomy = Tiling<T, tiles, 64, 32>;
      if (BackwardMemory<Roomy, false>::bytes > shared_bytes_per_block(q.device()))
        run(Tiling<T, tiles, 32, 32>{}, Tiling<T, tiles, 32, 32>{});
      else
        run(Roomy{}, Tiling<T, tiles, 32, 64>{});
    }
  });
}

template void attend_on_tensor_cores<Float16>(const char*, const Sequences&, const Tensor&, const Tensor&, const Tensor&,
                                              const Tensor&, const Tensor&);
template void attend_on_tensor_cores<BFloat16>(const char*, const Sequences&, const Tensor&, const Tensor&, const Tensor&,
                                               const Tensor&, const Tensor&);
template void gradients_on_tensor_cores<Float16>(const char*, const Sequences&, const AttentionGradients&, const Tensor&,
                                                 const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&);
template void gradients_on_tensor_cores<BFloat16>(const char*, const Sequences&, const AttentionGradients&, const Tensor&,
                                                  const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&);

}  // namespace relume::cuda
