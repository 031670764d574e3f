// The pool of training pairs (degradation spec D4.3): where a batch shares its draws, consecutive batches are mixed so that
// what the network sees at once is not all of one kind.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "degrade/recipe.h"
#include "tensor/core/philox.h"

namespace relume {

// Pairs are held as 8 bits where that loses nothing (a quarter of the memory), else as they are.
class PairPool {
 public:
  // `size` pairs, a multiple of the batch.
  explicit PairPool(int64_t size);

  // While the pool is filling: keeps the pairs, and gives them back as they came. Once it is full: permutes the pool (place i
  // gets what was at permutation[i]), gives the first pairs and puts the new ones in their places. `pairs` [N, H, W, 3], of one
  // size throughout; `permutation` of 0 .. size-1, used only once the pool is full.
  Degraded exchange(const Degraded& pairs, std::span<const uint32_t> permutation);

  bool full() const { return int64_t(slots_.size()) == size_; }
  int64_t size() const { return size_; }

  // All the pool holds, so that a resumed training mixes the same pairs: [slots, H, W, 3], u8 where every picture is held so,
  // else f32; order i64 [slots]. Undefined tensors for an empty pool.
  struct Contents {
    Tensor lq, gt, order;
  };
  Contents contents() const;
  void restore(const Contents& contents);  // InputError when they are not those of a pool of this size

 private:
  int64_t size_;
  std::vector<Degraded> slots_;  // each [H, W, 3], u8 or f32
  std::vector<uint32_t> order_;  // place -> slot: permuting moves no picture
};

}  // namespace relume
