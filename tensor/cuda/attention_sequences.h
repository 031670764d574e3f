// What the kernels of streaming attention have in common: lengths and heads, who sees whom, and which part of the work a block
// has.
#pragma once

#include "tensor/cuda/loops.h"
#include "tensor/kernels/attention.h"
#include "tensor/scalar/hd.h"

namespace relume::cuda {

inline constexpr float no_score = -1e30f;  // of keys that are not seen: their probability is 0

struct Sequences {
  Sequences(const Tensor& q, const Tensor& k, const kernels::AttentionOptions& o)
      : samples(q.shape(0)),
        queries(q.shape(1)),
        keys(k.shape(1)),
        heads(o.heads),
        head_dim(int(q.shape(2)) / o.heads),
        scale(float(o.scale)),
        causal(o.causal) {}

  RELUME_HD bool sees(int64_t query, int64_t key) const { return query < queries && key < keys && (!causal || key <= query); }
  // Behind the last key that any query before `end` sees.
  RELUME_HD int64_t keys_seen(int64_t end) const { return causal && end < keys ? end : keys; }
  // Before it, no query sees the keys from `key` on.
  RELUME_HD int64_t first_seeing(int64_t key) const { return causal ? key : 0; }

  int64_t samples, queries, keys;
  int heads, head_dim;
  float scale;
  bool causal;
};

// The part of a block: a tile of `rows` tokens, of so many in a sequence, of one head of one sample.
struct BlockPart {
  __device__ BlockPart(const Sequences& s, int rows, int64_t tokens) {
    const int64_t tiles = (tokens + rows - 1) / rows, rest = int64_t(blockIdx.x) / tiles;
    first = (int64_t(blockIdx.x) - rest * tiles) * rows;
    sample = rest / s.heads, head = int(rest - sample * s.heads);
    column = head * s.head_dim;
  }
  int64_t first, sample;
  int head, column;
};

inline dim3 parts_grid(const Sequences& s, int rows, int64_t tokens) {
  return dim3(unsigned((tokens + rows - 1) / rows * s.heads * s.samples));
}

// Tokens of one sample in a map [N, tokens, ...], from one of its columns on.
template <class T> struct HeadRows {
  template <class Map> __device__ HeadRows(const Map& map, int64_t sample, int64_t count, int column)
      : data(map.at(sample * count, column)), pitch(map.pitch), tokens(count) {}
  __device__ T* at(int64_t token, int column = 0) const { return data + token * pitch + column; }
  T* data;
  int64_t pitch, tokens;
};

}  // namespace relume::cuda
