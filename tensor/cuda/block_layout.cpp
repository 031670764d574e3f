#include "tensor/cuda/block_layout.h"

#include <algorithm>
#include <numeric>

#include "base/rounding.h"

namespace relume::cuda {

BlockLayout lay_out(const std::vector<BlockLife>& blocks, int64_t alignment) {
  BlockLayout layout{.offsets = std::vector<int64_t>(blocks.size())};
  std::vector<size_t> largest_first(blocks.size());
  std::iota(largest_first.begin(), largest_first.end(), size_t(0));
  std::ranges::stable_sort(largest_first, [&](size_t a, size_t b) { return blocks[a].size > blocks[b].size; });
  std::vector<size_t> placed;  // by their offsets
  for (const size_t i : largest_first) {
    const BlockLife& block = blocks[i];
    int64_t offset = 0;
    for (const size_t other : placed) {
      const BlockLife& o = blocks[other];
      if (o.died <= block.born || block.died <= o.born) continue;
      if (offset + block.size <= layout.offsets[other]) break;
      offset = std::max(offset, round_up(layout.offsets[other] + o.size, alignment));
    }
    layout.offsets[i] = offset;
    layout.bytes = std::max(layout.bytes, offset + block.size);
    const auto behind = [&](int64_t at, size_t other) { return at < layout.offsets[other]; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), offset, behind), i);
  }
  return layout;
}

}  // namespace relume::cuda
