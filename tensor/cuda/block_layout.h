// One piece of memory for blocks whose sizes and lifetimes are known: those that are never there at once may share addresses.
#pragma once

#include <cstdint>
#include <vector>

namespace relume::cuda {

struct BlockLife {
  int64_t size;        // bytes
  int64_t born, died;  // in any unit of time; there from `born` until before `died`
};

struct BlockLayout {
  std::vector<int64_t> offsets;  // of the blocks, in the order given
  int64_t bytes = 0;             // of the piece
};

// The largest blocks first, each where the lowest gap holds it between those that are there at the same time. Offsets are
// multiples of `alignment`. Takes the square of the number of blocks in time: some thousand take milliseconds.
BlockLayout lay_out(const std::vector<BlockLife>& blocks, int64_t alignment);

}  // namespace relume::cuda
