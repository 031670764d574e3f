#include "tensor/cuda/window_attention.h"

#include <utility>

#include "tensor/cuda/block_product.h"
#include "tensor/cuda/row_sums.h"

namespace relume::cuda {
namespace {

using kernels::WindowAttentionOptions;

constexpr int attention_threads = 128;
constexpr int row_lanes = 8;          // that share a row of scores
constexpr int most_queries = 64;      // whose scores are held at a time
constexpr int64_t most_chunks = 512;  // of windows: what the blocks of one head take
constexpr size_t most_shared_bytes = 227 * 1024;
constexpr float no_score = -1e30f;  // of keys behind the last: their probability is 0

// How the map is cut, and where a block holds what. It has one head of one window after another in shared memory: all keys and
// values, a tile of the queries and the tile's scores. Offsets are in words of four bytes.
struct Plan {
  Plan(const Tensor& qkv, const WindowAttentionOptions& o)
      : height(qkv.shape(1)),
        width(qkv.shape(2)),
        windows_y(height / o.window),
        windows_x(width / o.window),
        windows(qkv.shape(0) * windows_y * windows_x),
        chunks(std::min(windows, most_chunks)),
        heads(o.heads),
        window(o.window),
        shift(o.shift),
        tokens(window * window),
        head_dim(int(qkv.shape(3) / 3) / heads),
        row_pitch(quad_pitch(head_dim)),
        score_pitch(quad_pitch(tokens)),
        scale(float(o.scale)),
        masked(float(o.mask)) {}

  void arrange(int queries, bool backward) {
    const auto take = [&](int64_t count) { return std::exchange(words, words + whole_quads(count)); };
    const int64_t all = whole_quads(tokens), rows = all * row_pitch;
    tile = queries, words = 0;
    pixel = take(2 * all), token = take(2 * all), table = take(bins());
    q = take(int64_t(tile) * row_pitch), k = take(rows), v = take(rows), scores = take(int64_t(tile) * score_pitch);
    row_number = take(tile);
    if (!backward) return;
    mean = take(tile), dout = take(int64_t(tile) * row_pitch), dk = take(rows), dv = take(rows), dtable = take(bins());
  }
  RELUME_HD int side() const { return 2 * window - 1; }
  RELUME_HD int bins() const { return side() * side(); }
  size_t bytes() const { return size_t(words) * 4; }

  int64_t height, width, windows_y, windows_x, windows, chunks;
  int heads, window, shift, tokens, head_dim, row_pitch, score_pitch;
  float scale, masked;  // masked: added to the score of a pair from different regions
  int tile = 0;         // of queries
  int64_t pixel = 0, token = 0, table = 0, q = 0, k = 0, v = 0, scores = 0, row_number = 0;
  int64_t mean = 0, dout = 0, dk = 0, dv = 0, dtable = 0;  // of the backward pass
  int64_t words = 0;
};

struct alignas(8) Token {
  int place;   // the difference of two of them, from the middle of the table, is the row of their bias
  int region;  // differs where the shift brought together what is apart in the map
};

// What a block holds in shared memory.
struct Held {
  __device__ explicit Held(const Plan& p)
      : words(dynamic_shared<float>()),
        pixel(reinterpret_cast<int64_t*>(words + p.pixel)),
        token(reinterpret_cast<Token*>(words + p.token)),
        table(words + p.table),
        q{words + p.q, p.row_pitch},
        k{words + p.k, p.row_pitch},
        v{words + p.v, p.row_pitch},
        scores{words + p.scores, p.score_pitch},
        row_number(words + p.row_number),
        scale(p.scale),
        masked(p.masked),
        middle((p.side() + 1) * (p.window - 1)) {}

  // Of query i for key j, from their product: scaled, with bias and mask.
  __device__ float score(int i, int j, float product) const {
    const Token from = token[i], to = token[j];
    return math::fma(scale, product, table[from.place - to.place + middle]) + (from.region == to.region ? 0.f : masked);
  }

  float* words;
  int64_t* pixel;  // of each token
  Token* token;
  float* table;  // of the head
  Factor<false> q, k, v, scores;
  float* row_number;  // one for each query of the tile
  float scale, masked;
  int middle;
};

template <class T> static __device__ void load_table(const Plan& p, const Held& held, Rows<T> table, int head) {
  for (int bin = int(threadIdx.x); bin < p.bins(); bin += attention_threads) held.table[bin] = get(*table.at(bin, head));
}

static __device__ void place_tokens(const Plan& p, const Held& held, int64_t w) {
  const int64_t line = w / p.windows_x, n = line / p.windows_y, row = line - n * p.windows_y, column = w - line * p.windows_x;
  for (int i = int(threadIdx.x); i < p.tokens; i += attention_threads) {
    const int ty = i / p.window, tx = i - ty * p.window;
    int64_t y = row * p.window + ty + p.shift, x = column * p.window + tx + p.shift;
    if (y >= p.height) y -= p.height;
    if (x >= p.width) x -= p.width;
    held.pixel[i] = (n * p.height + y) * p.width + x;
    const bool below = row == p.windows_y - 1 && ty >= p.window - p.shift;
    const bool right = column == p.windows_x - 1 && tx >= p.window - p.shift;
    held.token[i] = {ty * p.side() + tx, int(below) + 2 * int(right)};
  }
}

// f(row, column) for every N columns of every row, up to the next multiples of 4.
template <int N, class F> static __device__ void for_packs(int rows, int columns, F&& f) {
  const int packs = whole_quads(columns) / N;
  for (int item = int(threadIdx.x); item < whole_quads(rows) * packs; item += attention_threads) {
    const int row = item / packs;
    f(row, (item - row * packs) * N);
  }
}

// Rows of the map, from one of their columns on; zeros up to the next multiples of 4.
template <int N, class T>
static __device__ void load_rows(Factor<false> to, Rows<T> from, int64_t first, int columns, const int64_t* pixel, int rows) {
  constexpr int M = std::min(N, product_side);  // what rows of shared memory are aligned to
  for_packs<N>(rows, columns, [&](int row, int column) {
    Pack<T, N> in{};
    if (row < rows && column < columns) in = *reinterpret_cast<const Pack<T, N>*>(from.at(pixel[row], first + column));
    RELUME_UNROLL
    for (int n = 0; n < N; n += M) {
      Pack<float, M> out;
      RELUME_UNROLL
      for (int m = 0; m < M; ++m) out.at[m] = get(in.at[n + m]);
      *reinterpret_cast<Pack<float, M>*>(&to.at(row, column + n)) = out;
    }
  });
}
template <int N, class T>
static __device__ void store_rows(Rows<T> to, int64_t first, int columns, const int64_t* pixel, int rows, Factor<false> from) {
  for_packs<N>(rows, columns, [&](int row, int column) {
    if (row >= rows || column >= columns) return;
    Pack<T, N> out;
    RELUME_UNROLL
    for (int n = 0; n < N; ++n) put(out.at[n], from.at(row, column + n));
    *reinterpret_cast<Pack<T, N>*>(to.at(pixel[row], first + column)) = out;
  });
}

// f(row, lane) for the rows up to the next multiple of 4, each with row_lanes lanes; whole warps stay together.
template <class F> static __device__ void for_rows(int rows, F&& f) {
  for (int row = int(threadIdx.x) / row_lanes; row < whole_quads(rows); row += attention_threads / row_lanes)
    f(row, int(threadIdx.x) % row_lanes);
}
template <class F> static __device__ float over_lanes(float x, F&& f) {
  for (int bits = row_lanes / 2; bits > 0; bits /= 2) x = f(x, shuffle_xor(x, bits));
  return x;
}
static __device__ float sum_of_lanes(float x) {
  return over_lanes(x, [](float a, float b) { return a + b; });
}

// Rows of scores become e^(score - the largest of the row); f(row, largest, sum) on one lane.
template <class F> static __device__ void softmax_rows(Factor<false> scores, int rows, int columns, F&& f) {
  for_rows(rows, [&](int row, int lane) {
    const auto quad_at = [&](int j) -> Quad& { return *reinterpret_cast<Quad*>(&scores.at(row, j)); };
    constexpr int step = row_lanes * product_side;
    float largest = no_score, sum = 0;
    for (int j = lane * product_side; j < columns; j += step) {
      const Quad quad = quad_at(j);
      for (const float x : quad.at) largest = std::max(largest, x);
    }
    largest = over_lanes(largest, [](float a, float b) { return std::max(a, b); });
    for (int j = lane * product_side; j < columns; j += step) {
      Quad quad = quad_at(j);
      for (float& x : quad.at) sum += x = math::exp(x - largest);
      quad_at(j) = quad;
    }
    sum = sum_of_lanes(sum);
    if (lane == 0) f(row, largest, sum);
  });
}

// One head of the windows chunk, chunk + chunks, ..., the head and the chunk from the block.
template <int N, class T>
static __global__ void attend_windows(Plan p, Rows<T> y, float* lse, int64_t lse_pitch, Rows<T> qkv, Rows<T> table) {
  const Held held(p);
  const int head = int(blockIdx.x) % p.heads, column = head * p.head_dim, channels = p.heads * p.head_dim;
  load_table(p, held, table, head);
  for (int64_t w = int(blockIdx.x) / p.heads; w < p.windows; w += p.chunks) {
    place_tokens(p, held, w);
    sync_block();
    load_rows<N>(held.k, qkv, channels + column, p.head_dim, held.pixel, p.tokens);
    load_rows<N>(held.v, qkv, 2 * channels + column, p.head_dim, held.pixel, p.tokens);
    for (int first = 0; first < p.tokens; first += p.tile) {
      const int rows = std::min(p.tile, p.tokens - first);
      const int64_t* const pixel = held.pixel + first;
      load_rows<N>(held.q, qkv, column, p.head_dim, pixel, rows);
      sync_block();
      block_product(rows, p.tokens, p.head_dim, held.q, held.k, [&](int i, int j, float product) {
        held.scores.at(i, j) = i < rows && j < p.tokens ? held.score(first + i, j, product) : no_score;
      });
      sync_block();
      softmax_rows(held.scores, rows, p.tokens, [&](int i, float largest, float sum) {
        held.row_number[i] = 1 / sum;
        if (lse && i < rows) lse[pixel[i] * lse_pitch + head] = largest + math::log(sum);
      });
      sync_block();
      block_product(rows, p.head_dim, p.tokens, held.scores, held.v.transposed(),
                    [&](int i, int c, float value) { held.q.at(i, c) = value * held.row_number[i]; });
      sync_block();
      store_rows<N>(y, column, p.head_dim, pixel, rows, held.q);
      sync_block();  // what was stored is overwritten
    }
  }
}

struct HeldBackward : Held {
  __device__ explicit HeldBackward(const Plan& p)
      : Held(p),
        dout{words + p.dout, p.row_pitch},
        dk{words + p.dk, p.row_pitch},
        dv{words + p.dv, p.row_pitch},
        lse(row_number),
        mean(words + p.mean),
        dtable(words + p.dtable) {}

  Factor<false> dout;  // of the tile; then the gradient of its queries
  Factor<false> dk, dv;
  float *lse, *mean;  // of the tile's queries
  float* dtable;      // summed over the windows of the block
};

// Adds the gradients of the tile's scores to those of the table's rows; every row has its thread.
static __device__ void add_to_table(const Plan& p, const HeldBackward& held, int first, int rows) {
  for (int bin = int(threadIdx.x); bin < p.bins(); bin += attention_threads) {
    const int y = bin / p.side() - (p.window - 1), x = bin % p.side() - (p.window - 1);  // of the query, seen from the key
    float sum = held.dtable[bin];
    for (int ty = std::max(0, y); ty < std::min(p.window, p.window + y); ++ty)
      for (int tx = std::max(0, x); tx < std::min(p.window, p.window + x); ++tx) {
        const int i = ty * p.window + tx - first;
        if (i >= 0 && i < rows) sum += held.scores.at(i, (ty - y) * p.window + tx - x);
      }
    held.dtable[bin] = sum;
  }
}

// With s the scores, p = exp(s - lse), o = p v and mean = rowsum(do * o):
// dv = p^T do, ds = p * (do v^T - mean), dq = scale ds k, dk = scale ds^T q; the table's gradient is ds summed over windows.
static __device__ void tile_gradients(const Plan& p, const HeldBackward& held, int first, int rows) {
  const Factor<false> scores = held.scores, dk = held.dk, dv = held.dv;
  block_product(rows, p.tokens, p.head_dim, held.q, held.k, [&](int i, int j, float product) {
    const bool inside = i < rows && j < p.tokens;
    scores.at(i, j) = inside ? math::exp(held.score(first + i, j, product) - held.lse[i]) : 0;
  });
  sync_block();
  block_product(p.tokens, p.head_dim, rows, scores.transposed(), held.dout.transposed(),
                [&](int j, int c, float value) { dv.at(j, c) = (first == 0 ? 0 : dv.at(j, c)) + value; });
  sync_block();
  block_product(rows, p.tokens, p.head_dim, held.dout, held.v,
                [&](int i, int j, float product) { scores.at(i, j) *= product - held.mean[i]; });
  sync_block();
  add_to_table(p, held, first, rows);
  block_product(p.tokens, p.head_dim, rows, scores.transposed(), held.q.transposed(),
                [&](int j, int c, float value) { dk.at(j, c) = (first == 0 ? 0 : dk.at(j, c)) + p.scale * value; });
  block_product(rows, p.head_dim, p.tokens, scores, held.k.transposed(),
                [&](int i, int c, float value) { held.dout.at(i, c) = p.scale * value; });
}

// partial [bins, chunks, heads] is what each block gives for the table; it may be null.
template <int N, class T> static __global__ void attend_windows_backward(Plan p, Rows<T> dqkv, float* partial, Rows<T> dy,
                                                                         Rows<T> y, const float* lse, int64_t lse_pitch,
                                                                         Rows<T> qkv, Rows<T> table) {
  const HeldBackward held(p);
  const int chunk = int(blockIdx.x) / p.heads, head = int(blockIdx.x) % p.heads;
  const int column = head * p.head_dim, channels = p.heads * p.head_dim;
  load_table(p, held, table, head);
  for (int bin = int(threadIdx.x); bin < p.bins(); bin += attention_threads) held.dtable[bin] = 0;
  for (int64_t w = chunk; w < p.windows; w += p.chunks) {
    place_tokens(p, held, w);
    sync_block();
    load_rows<N>(held.k, qkv, channels + column, p.head_dim, held.pixel, p.tokens);
    load_rows<N>(held.v, qkv, 2 * channels + column, p.head_dim, held.pixel, p.tokens);
    for (int first = 0; first < p.tokens; first += p.tile) {
      const int rows = std::min(p.tile, p.tokens - first);
      const int64_t* const pixel = held.pixel + first;
      load_rows<N>(held.q, qkv, column, p.head_dim, pixel, rows);
      load_rows<N>(held.dout, dy, column, p.head_dim, pixel, rows);
      for_rows(rows, [&](int i, int lane) {
        float sum = 0;
        if (i < rows)
          for (int c = lane; c < p.head_dim; c += row_lanes)
            sum = math::fma(get(*dy.at(pixel[i], column + c)), get(*y.at(pixel[i], column + c)), sum);
        sum = sum_of_lanes(sum);
        if (lane == 0) held.mean[i] = sum, held.lse[i] = i < rows ? lse[pixel[i] * lse_pitch + head] : 0;
      });
      sync_block();
      tile_gradients(p, held, first, rows);
      sync_block();
      store_rows<N>(dqkv, column, p.head_dim, pixel, rows, held.dout);
      sync_block();  // what was stored is overwritten
    }
    store_rows<N>(dqkv, channels + column, p.head_dim, held.pixel, p.tokens, held.dk);
    store_rows<N>(dqkv, 2 * channels + column, p.head_dim, held.pixel, p.tokens, held.dv);
    sync_block();  // the tokens are overwritten
  }
  if (!partial) return;
  for (int bin = int(threadIdx.x); bin < p.bins(); bin += attention_threads)
    partial[(bin * p.chunks + chunk) * p.heads + head] = held.dtable[bin];
}

// With the largest tile of queries that fits.
Plan plan_for(const char* name, const Tensor& qkv, const WindowAttentionOptions& o, bool backward) {
  RELUME_BUG(qkv.shape(3) % (3 * o.heads) == 0 && qkv.shape(1) % o.window == 0 && qkv.shape(2) % o.window == 0, name, " of ",
             qkv);
  Plan p(qkv, o);
  p.arrange(std::min(whole_quads(p.tokens), most_queries), backward);
  while (p.bytes() > most_shared_bytes && p.tile > product_side)
    p.arrange(p.tile / (2 * product_side) * product_side, backward);
  RELUME_CHECK(p.bytes() <= most_shared_bytes, name, ": windows of ", p.window, " x ", p.window, " with ", p.head_dim,
               " channels a head need ", p.bytes() / 1024 + 1, " KB of the ", most_shared_bytes / 1024,
               " KB that a block has on ", qkv.device(), "; use smaller windows, or more heads");
  return p;
}

// Calls f(N), the numbers that move at once: as many as every head's rows in all the maps are aligned to.
template <class T, class F, class... Maps> void with_packs(int head_dim, F&& f, const Maps&... maps) {
  const auto fit = [&]<int N>(std::integral_constant<int, N>) {
    return head_dim % N == 0 && (packs_fit<T, N>(maps, false) && ...);
  };
  constexpr std::integral_constant<int, pack_size<T>> sixteen_bytes{};
  constexpr std::integral_constant<int, 2> two{};
  constexpr std::integral_constant<int, 1> one{};
  fit(sixteen_bytes) ? f(sixteen_bytes) : fit(two) ? f(two) : f(one);
}

dim3 grid_of(const Plan& p) { return dim3(unsigned(p.chunks * p.heads)); }

}  // namespace

void window_attention_forward(const Tensor& y, const Tensor& lse, const Tensor& qkv, const Tensor& table,
                              const WindowAttentionOptions& options) {
  const char* const name = kernels::residual_window_attention_forward.name();
  if (qkv.numel() == 0) return;
  const Plan plan = plan_for(name, qkv, options, false);
  visit_float(name, qkv, [&]<class T>() {
    with_packs<T>(
        plan.head_dim,
        [&](auto width) {
          launch(name, attend_windows<decltype(width)::value, T>, grid_of(plan), attention_threads, plan.bytes(),
                 stream(qkv.device()), plan, Rows<T>(y), lse ? lse.data<float>() : nullptr, lse ? lse.pitch() : 0, Rows<T>(qkv),
                 Rows<T>(table));
        },
        y, qkv);
  });
}

void window_attention_backward(const Tensor& dqkv, const Tensor& dtable, const Tensor& dy, const Tensor& y, const Tensor& lse,
                               const Tensor& qkv, const Tensor& table, const WindowAttentionOptions& options) {
  const char* const name = kernels::residual_window_attention_backward.name();
  const Plan plan = plan_for(name, qkv, options, true);
  const int64_t bytes = dtable ? plan.bins() * plan.chunks * plan.heads * int64_t(sizeof(float)) : 0;
  const Storage partial(qkv.device(), bytes, MemoryUse::scratch);
  auto* const sums = dtable ? static_cast<float*>(partial.data()) : nullptr;
  visit_float(name, qkv, [&]<class T>() {
    if (plan.windows > 0)
      with_packs<T>(
          plan.head_dim,
          [&](auto width) {
            launch(name, attend_windows_backward<decltype(width)::value, T>, grid_of(plan), attention_threads, plan.bytes(),
                   stream(qkv.device()), plan, Rows<T>(dqkv), sums, Rows<T>(dy), Rows<T>(y), lse.data<float>(), lse.pitch(),
                   Rows<T>(qkv), Rows<T>(table));
          },
          dqkv, dy, qkv);
    if (dtable) total_of_chunks<T>(name, dtable, plan.chunks, sums, plan.heads);
  });
}

}  // namespace relume::cuda
