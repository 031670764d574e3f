// What the kernels of attention in windows have in common: how the map is cut, which part of the work a block has, and what it
// knows of a window's tokens.
#pragma once

#include "tensor/cuda/loops.h"
#include "tensor/kernels/attention.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {

inline constexpr float no_score = -1e30f;  // of keys behind the last: their probability is 0

// One head of one window after another falls to a block: the windows chunk, chunk + chunks, ...
struct Windows {
  static constexpr int64_t most_chunks = 512;

  // qkv [N, H, W, 3*C], channels [3][heads][head_dim].
  Windows(const char* name, const Tensor& qkv, const kernels::WindowAttentionOptions& o)
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
        scale(float(o.scale)),
        mask(float(o.mask)) {
    RELUME_BUG(qkv.shape(3) % (3 * heads) == 0 && height % window == 0 && width % window == 0, name, " of ", qkv);
  }

  // The table has a row for every distance of two tokens: the bins.
  RELUME_HD int side() const { return 2 * window - 1; }
  RELUME_HD int bins() const { return side() * side(); }
  RELUME_HD int channels() const { return heads * head_dim; }
  dim3 grid() const { return dim3(unsigned(chunks * heads)); }

  int64_t height, width, windows_y, windows_x, windows, chunks;
  int heads, window, shift, tokens, head_dim;
  float scale;
  float mask;  // added to the score of a pair from different regions
};

// The part of a block.
struct WindowsPart {
  __device__ explicit WindowsPart(const Windows& w)
      : chunk(int(blockIdx.x) / w.heads), head(int(blockIdx.x) % w.heads), column(head * w.head_dim) {}
  int chunk, head, column;
};

struct alignas(8) Token {
  int place;   // the difference of two of them, from the middle of the table, is the row of their bias
  int region;  // differs where the shift brought together what is apart in the map
};

// The tokens of a block's window, in shared memory.
struct WindowTokens {
  __device__ WindowTokens(const Windows& w, int64_t* pixels, Token* tokens, float* biases)
      : pixel(pixels), token(tokens), table(biases), scale(w.scale), mask(w.mask), middle((w.side() + 1) * (w.window - 1)) {}

  template <class T> __device__ void load_table(const Windows& w, Rows<T> rows, int head) const {
    for (int bin = int(threadIdx.x); bin < w.bins(); bin += int(blockDim.x)) table[bin] = get(*rows.at(bin, head));
  }
  __device__ void place(const Windows& w, int64_t number) const {
    const int64_t line = number / w.windows_x, n = line / w.windows_y, row = line - n * w.windows_y,
                  column = number - line * w.windows_x;
    for (int i = int(threadIdx.x); i < w.tokens; i += int(blockDim.x)) {
      const int ty = i / w.window, tx = i - ty * w.window;
      int64_t y = row * w.window + ty + w.shift, x = column * w.window + tx + w.shift;
      if (y >= w.height) y -= w.height;
      if (x >= w.width) x -= w.width;
      pixel[i] = (n * w.height + y) * w.width + x;
      const bool below = row == w.windows_y - 1 && ty >= w.window - w.shift;
      const bool right = column == w.windows_x - 1 && tx >= w.window - w.shift;
      token[i] = {ty * w.side() + tx, int(below) + 2 * int(right)};
    }
  }
  // Of query i for key j, from their product: scaled, with bias and mask.
  __device__ float score(int i, int j, float product) const {
    const Token from = token[i], to = token[j];
    return math::fma(scale, product, table[from.place - to.place + middle]) + (from.region == to.region ? 0.f : mask);
  }

  int64_t* pixel;  // of each token
  Token* token;
  float* table;  // of the head
  float scale, mask;
  int middle;
};

// f(query, key) for all pairs of a window's tokens that have the bin's bias.
template <class F> __device__ inline void for_pairs(const Windows& w, int bin, F&& f) {
  const int y = bin / w.side() - (w.window - 1), x = bin % w.side() - (w.window - 1);  // of the query, seen from the key
  for (int ty = std::max(0, y); ty < std::min(w.window, w.window + y); ++ty)
    for (int tx = std::max(0, x); tx < std::min(w.window, w.window + x); ++tx)
      f(ty * w.window + tx, (ty - y) * w.window + tx - x);
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

}  // namespace relume::cuda
