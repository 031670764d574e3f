#include "tensor/cuda/window_attention_mma.h"

#include "tensor/cuda/mma.h"

namespace relume::cuda {
namespace {

// A block has a whole window, padded with zeros to most_tokens, and every warp 16 of its rows: queries, and for the gradients
// of keys and values keys.
constexpr int warps = 4, attention_threads = warps * warp_size;
constexpr int most_tokens = 16 * warps, most_channels = 32;
constexpr int pitch = most_channels + 8, score_pitch = most_tokens + 8;  // eight neighbouring rows begin in different banks
constexpr int sum_pitch = most_tokens + 1;

// What a warp has of a product: tiles of 8 columns.
using Scores = float[most_tokens / 8][4];  // of its rows for all tokens
using Sums = float[most_channels / 8][4];  // of its rows over tokens

// Where the numbers of a lane are: number i of tile t.
struct Place {
  __device__ int row(int i) const { return first_row + lane / 4 + i / 2 * 8; }
  __device__ int column(int t, int i) const { return t * 8 + lane % 4 * 2 + i % 2; }
  // Of the lanes that share a row, one does what is done once for each.
  __device__ bool leads_row() const { return lane % 4 == 0; }

  int lane = int(threadIdx.x) % warp_size;
  int first_row = int(threadIdx.x) / warp_size * 16;
};

// f(number i of tile t, its row, its column).
template <class F> static __device__ void for_scores(const Place& place, F&& f) {
  RELUME_UNROLL
  for (int t = 0; t < most_tokens / 8; ++t)
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

// A head's channels of the window's tokens, from the map's column `first` on; zeros behind the last of either.
template <int N, class T>
static __device__ void load_rows(T* to, Rows<T> from, int first, const Windows& w, const int64_t* pixel) {
  constexpr int packs = most_channels / N;
  RELUME_UNROLL
  for (int i = 0; i < most_tokens * packs / attention_threads; ++i) {
    const int item = i * attention_threads + int(threadIdx.x), row = item / packs, column = item % packs * N;
    Pack<T, N> in{};
    if (row < w.tokens && column < w.head_dim) in = *reinterpret_cast<const Pack<T, N>*>(from.at(pixel[row], first + column));
    *reinterpret_cast<Pack<T, N>*>(to + row * pitch + column) = in;
  }
}

// The sums times factor(i), number i of a tile telling the row. Heads of 30 channels lie on 4 bytes: what a lane has is what
// can be written at once.
template <int N, class T, class F>
static __device__ void store_rows(Rows<T> to, int first, const Windows& w, const int64_t* pixel, const Sums& sums, F&& factor) {
  const Place place;
  RELUME_UNROLL
  for (int i = 0; i < 4; i += 2) {
    if (place.row(i) >= w.tokens) continue;
    T* const row = to.at(pixel[place.row(i)], first);
    RELUME_UNROLL
    for (int t = 0; t < most_channels / 8; ++t) {
      const int column = place.column(t, 0);
      Pack<T, 2> pair;
      put(pair.at[0], sums[t][i] * factor(i)), put(pair.at[1], sums[t][i + 1] * factor(i));
      if constexpr (N > 1) {
        if (column < w.head_dim) *reinterpret_cast<Pack<T, 2>*>(row + column) = pair;
      } else {
        if (column < w.head_dim) row[column] = pair.at[0];
        if (column + 1 < w.head_dim) row[column + 1] = pair.at[1];
      }
    }
  }
}

// ---- Products ---------------------------------------------------------------------------------------------------------------

// The warp's rows of a product over `depth`. load_a(x, k) gives the left factor's fragment of columns k .. k + 15,
// load_b(y, t, k) the right one's of rows k .. k + 15 for the tiles t and t + 1.
template <class T, int depth, int tiles, class A, class B>
static __device__ void product(float (&sums)[tiles][4], A&& load_a, B&& load_b) {
  RELUME_UNROLL
  for (int t = 0; t < tiles; ++t)
    RELUME_UNROLL
    for (int i = 0; i < 4; ++i) sums[t][i] = 0;
  RELUME_UNROLL
  for (int k = 0; k < depth; k += 16) {
    uint32_t x[4];
    load_a(x, k);
    RELUME_UNROLL
    for (int t = 0; t < tiles; t += 2) {
      uint32_t y[4];
      load_b(y, t, k);
      mma_m16n8k16<T>(sums[t], x, y[0], y[1]);
      mma_m16n8k16<T>(sums[t + 1], x, y[2], y[3]);
    }
  }
}

// a b^T over the channels, for the warp's rows of a.
template <class T> static __device__ void product_of_rows(Scores& scores, const T* a, const T* b) {
  const Place place;
  const int lane = place.lane;
  const T* const left = a + (place.first_row + lane % 16) * pitch + lane / 16 * 8;
  const T* const right = b + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8;
  product<T, most_channels>(
      scores, [&](uint32_t(&x)[4], int k) { ldmatrix<4>(x, left + k); },
      [&](uint32_t(&y)[4], int t, int k) { ldmatrix<4>(y, right + t * 8 * pitch + k); });
}

// Rows of b as the right factor of a product over tokens.
template <class T> struct TokenRows {
  __device__ explicit TokenRows(const T* b) {
    const int lane = Place().lane;
    from = b + lane % 16 * pitch + lane / 16 * 8;
  }
  __device__ void operator()(uint32_t (&y)[4], int t, int k) const { ldmatrix<4, true>(y, from + k * pitch + t * 8); }
  const T* from;
};

template <class T> static __device__ uint32_t pair_of(float low, float high) {
  Pack<T, 2> pair;
  put(pair.at[0], low), put(pair.at[1], high);
  return uint32_t(pair.at[0].bits) | uint32_t(pair.at[1].bits) << 16;
}

// scores b over the tokens: what a lane has of two tiles of scores is what it needs of the left factor.
template <class T> static __device__ void product_of_scores(Sums& sums, const Scores& scores, const T* b) {
  product<T, most_tokens>(
      sums,
      [&](uint32_t(&x)[4], int k) {
        RELUME_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float* const s = scores[k / 8 + i / 2] + i % 2 * 2;
          x[i] = pair_of<T>(s[0], s[1]);
        }
      },
      TokenRows<T>(b));
}

// scores^T b over the queries, for the warp's keys; the scores as write_scores() lays them out.
template <class T> static __device__ void product_over_queries(Sums& sums, const T* scores, const T* b) {
  const Place place;
  const int lane = place.lane;
  const T* const left = scores + (lane / 16 * 8 + lane % 8) * score_pitch + place.first_row + lane / 8 % 2 * 8;
  product<T, most_tokens>(
      sums, [&](uint32_t(&x)[4], int k) { ldmatrix<4, true>(x, left + k * score_pitch); }, TokenRows<T>(b));
}

template <class T> static __device__ void write_scores(T* to, const Scores& scores) {
  const Place place;
  RELUME_UNROLL
  for (int t = 0; t < most_tokens / 8; ++t)
    RELUME_UNROLL
    for (int i = 0; i < 4; i += 2)
      *reinterpret_cast<uint32_t*>(to + place.row(i) * score_pitch + place.column(t, 0)) =
          pair_of<T>(scores[t][i], scores[t][i + 1]);
}

// ---- Forward ----------------------------------------------------------------------------------------------------------------

constexpr int most_bins = 15 * 15;  // of windows of 8 x 8

// What a block holds in shared memory.
template <class T> struct Held {
  alignas(16) T q[most_tokens * pitch], k[most_tokens * pitch], v[most_tokens * pitch];
  int64_t pixel[most_tokens];
  Token token[most_tokens];
  float table[most_bins];

  __device__ WindowTokens tokens(const Windows& w) { return {w, pixel, token, table}; }
};

// Scores become e^(score - the largest of the row).
static __device__ void softmax_rows(Scores& scores, float (&largest)[2], float (&sum)[2]) {
  const Place place;
  largest[0] = largest[1] = no_score, sum[0] = sum[1] = 0;
  for_scores(place, [&](int t, int i, int, int) { largest[i / 2] = std::max(largest[i / 2], scores[t][i]); });
  for (float& x : largest) x = largest_of_lanes(x);
  for_scores(place, [&](int t, int i, int, int) { sum[i / 2] += scores[t][i] = math::exp(scores[t][i] - largest[i / 2]); });
  for (float& x : sum) x = sum_of_lanes(x);
}

template <int N, class T>
static __global__ void attend_windows(Windows w, Rows<T> y, MaybeRows<float> lse, Rows<T> qkv, Rows<T> table) {
  Held<T>& held = *dynamic_shared<Held<T>>();
  const WindowTokens tokens = held.tokens(w);
  const WindowsPart part(w);
  const Place place;
  tokens.load_table(w, table, part.head);
  for (int64_t n = part.chunk; n < w.windows; n += w.chunks) {
    tokens.place(w, n);
    sync_block();
    load_rows<N>(held.q, qkv, part.column, w, held.pixel);
    load_rows<N>(held.k, qkv, w.channels() + part.column, w, held.pixel);
    load_rows<N>(held.v, qkv, 2 * w.channels() + part.column, w, held.pixel);
    sync_block();
    Scores scores;
    product_of_rows(scores, held.q, held.k);
    for_scores(place, [&](int t, int i, int row, int column) {
      scores[t][i] = row < w.tokens && column < w.tokens ? tokens.score(row, column, scores[t][i]) : no_score;
    });
    float largest[2], sum[2];
    softmax_rows(scores, largest, sum);
    Sums out;
    product_of_scores(out, scores, held.v);
    store_rows<N>(y, part.column, w, held.pixel, out, [&](int i) { return 1 / sum[i / 2]; });
    RELUME_UNROLL
    for (int half = 0; half < 2; ++half)
      if (const int row = place.row(2 * half); lse.data && place.leads_row() && row < w.tokens)
        *lse.at(held.pixel[row], part.head) = largest[half] + math::log(sum[half]);
    sync_block();  // the window is overwritten
  }
}

// ---- Backward ---------------------------------------------------------------------------------------------------------------

template <class T> struct HeldBackward : Held<T> {
  struct Factors {
    T probabilities[most_tokens * score_pitch], dscores[most_tokens * score_pitch];
  };
  alignas(16) T dy[most_tokens * pitch];
  union {
    Factors factors;                             // of a window
    float dscore_sums[most_tokens * sum_pitch];  // of all the block's windows, at the end
  };
};

// With p = exp(s - lse), ds = p * (dy v^T - rowsum(p * dy v^T)): scores become p, dscores ds.
template <class T> static __device__ void differentiate(Scores& scores, Scores& dscores, HeldBackward<T>& held,
                                                        const Windows& w, Rows<float> lse, int head) {
  const Place place;
  const WindowTokens tokens = held.tokens(w);
  float log_sum[2], mean[2] = {};
  RELUME_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = place.row(2 * half);
    log_sum[half] = row < w.tokens ? *lse.at(held.pixel[row], head) : 0;
  }
  product_of_rows(scores, held.q, held.k);
  for_scores(place, [&](int t, int i, int row, int column) {
    const bool inside = row < w.tokens && column < w.tokens;
    scores[t][i] = inside ? math::exp(tokens.score(row, column, scores[t][i]) - log_sum[i / 2]) : 0;
  });
  product_of_rows(dscores, held.dy, held.v);
  for_scores(place, [&](int t, int i, int, int) { mean[i / 2] = math::fma(scores[t][i], dscores[t][i], mean[i / 2]); });
  for (float& x : mean) x = sum_of_lanes(x);
  for_scores(place, [&](int t, int i, int, int) { dscores[t][i] = scores[t][i] * (dscores[t][i] - mean[i / 2]); });
}

// partial [bins, chunks, heads], from the sums over the block's windows of the scores' gradients.
template <class T> static __device__ void sum_bins(HeldBackward<T>& held, const Windows& w, const WindowsPart& part,
                                                   const Scores& sums, float* partial) {
  for_scores(Place(), [&](int t, int i, int row, int column) { held.dscore_sums[row * sum_pitch + column] = sums[t][i]; });
  sync_block();
  for (int bin = int(threadIdx.x); bin < w.bins(); bin += attention_threads) {
    float sum = 0;
    for_pairs(w, bin, [&](int query, int key) { sum += held.dscore_sums[query * sum_pitch + key]; });
    partial[(bin * w.chunks + part.chunk) * w.heads + part.head] = sum;
  }
}

// dv = p^T dy, dq = scale ds k, dk = scale ds^T q. What the scores' gradients of all windows add up to stays in registers: the
// table's gradient is summed from it once for each block.
template <int N, class T> static __global__ void attend_windows_backward(Windows w, Rows<T> dqkv, float* partial, Rows<T> dy,
                                                                         Rows<float> lse, Rows<T> qkv, Rows<T> table) {
  HeldBackward<T>& held = *dynamic_shared<HeldBackward<T>>();
  const WindowTokens tokens = held.tokens(w);
  const WindowsPart part(w);
  const int q_column = part.column, k_column = w.channels() + part.column, v_column = 2 * w.channels() + part.column;
  tokens.load_table(w, table, part.head);
  Scores dscore_sums = {};
  for (int64_t n = part.chunk; n < w.windows; n += w.chunks) {
    tokens.place(w, n);
    sync_block();
    load_rows<N>(held.q, qkv, q_column, w, held.pixel);
    load_rows<N>(held.k, qkv, k_column, w, held.pixel);
    load_rows<N>(held.v, qkv, v_column, w, held.pixel);
    load_rows<N>(held.dy, dy, part.column, w, held.pixel);
    sync_block();
    Scores scores, dscores;
    differentiate(scores, dscores, held, w, lse, part.head);
    write_scores(held.factors.probabilities, scores);
    write_scores(held.factors.dscores, dscores);
    for_scores(Place(), [&](int t, int i, int, int) { dscore_sums[t][i] += dscores[t][i]; });
    Sums out;
    product_of_scores(out, dscores, held.k);
    store_rows<N>(dqkv, q_column, w, held.pixel, out, [&](int) { return w.scale; });
    sync_block();
    product_over_queries(out, held.factors.probabilities, held.dy);
    store_rows<N>(dqkv, v_column, w, held.pixel, out, [](int) { return 1.f; });
    product_over_queries(out, held.factors.dscores, held.q);
    store_rows<N>(dqkv, k_column, w, held.pixel, out, [&](int) { return w.scale; });
    sync_block();  // the window is overwritten
  }
  if (partial) sum_bins(held, w, part, dscore_sums, partial);
}

}  // namespace

// ---- Launches ---------------------------------------------------------------------------------------------------------------

template <class T> void attend_windows_on_tensor_cores(const char* name, const Windows& w, const Tensor& y, const Tensor& lse,
                                                       const Tensor& qkv, const Tensor& table) {
  with_packs<T>(
      w.head_dim,
      [&](auto width) {
        launch(name, attend_windows<decltype(width)::value, T>, w.grid(), attention_threads, sizeof(Held<T>),
               stream(qkv.device()), w, Rows<T>(y), MaybeRows<float>(lse), Rows<T>(qkv), Rows<T>(table));
      },
      y, qkv);
}

template <class T> void window_gradients_on_tensor_cores(const char* name, const Windows& w, const Tensor& dqkv, float* partial,
                                                         const Tensor& dy, const Tensor& lse, const Tensor& qkv,
                                                         const Tensor& table) {
  with_packs<T>(
      w.head_dim,
      [&](auto width) {
        launch(name, attend_windows_backward<decltype(width)::value, T>, w.grid(), attention_threads, sizeof(HeldBackward<T>),
               stream(qkv.device()), w, Rows<T>(dqkv), partial, Rows<T>(dy), Rows<float>(lse), Rows<T>(qkv), Rows<T>(table));
      },
      dqkv, dy, qkv);
}

template void attend_windows_on_tensor_cores<Float16>(const char*, const Windows&, const Tensor&, const Tensor&, const Tensor&,
                                                      const Tensor&);
template void attend_windows_on_tensor_cores<BFloat16>(const char*, const Windows&, const Tensor&, const Tensor&, const Tensor&,
                                                       const Tensor&);
template void window_gradients_on_tensor_cores<Float16>(const char*, const Windows&, const Tensor&, float*, const Tensor&,
                                                        const Tensor&, const Tensor&, const Tensor&);
template void window_gradients_on_tensor_cores<BFloat16>(const char*, const Windows&, const Tensor&, float*, const Tensor&,
                                                         const Tensor&, const Tensor&, const Tensor&);

}  // namespace relume::cuda
