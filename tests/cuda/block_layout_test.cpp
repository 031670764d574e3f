#include "tensor/cuda/block_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace relume::cuda {
namespace {

// The most bytes that are there at once.
int64_t highest(const std::vector<BlockLife>& blocks) {
  int64_t most = 0;
  for (const BlockLife& at : blocks) {
    int64_t sum = 0;
    for (const BlockLife& b : blocks)
      if (b.born <= at.born && at.born < b.died) sum += b.size;
    most = std::max(most, sum);
  }
  return most;
}

void expect_apart(const std::vector<BlockLife>& blocks, const BlockLayout& layout, int64_t alignment) {
  ASSERT_EQ(layout.offsets.size(), blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(layout.offsets[i] % alignment, 0);
    EXPECT_LE(layout.offsets[i] + blocks[i].size, layout.bytes);
    for (size_t j = 0; j < i; ++j) {
      const bool at_once = blocks[i].born < blocks[j].died && blocks[j].born < blocks[i].died;
      const bool overlap =
          layout.offsets[i] < layout.offsets[j] + blocks[j].size && layout.offsets[j] < layout.offsets[i] + blocks[i].size;
      EXPECT_FALSE(at_once && overlap) << i << " and " << j;
    }
  }
}

TEST(BlockLayout, BlocksOneAfterTheOtherShareAddresses) {
  const std::vector<BlockLife> blocks{{.size = 100, .born = 0, .died = 2},
                                      {.size = 64, .born = 1, .died = 3},
                                      {.size = 70, .born = 2, .died = 4},
                                      {.size = 30, .born = 2, .died = 4}};
  const BlockLayout layout = lay_out(blocks, 1);
  EXPECT_EQ(layout.bytes, 164);
  expect_apart(blocks, layout, 1);
  EXPECT_EQ(lay_out({}, 512).bytes, 0);
}

// As a network's maps come and go: a few stay, most are needed by the next layers alone.
TEST(BlockLayout, BlocksAtRandomAreApartAndTakeLittleMoreThanAtOnce) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    std::vector<BlockLife> blocks;
    for (int64_t t = 0; t < 400; ++t) {
      const int64_t size = int64_t(512) << random() % 8, life = random() % 16 == 0 ? 100 : 1 + int64_t(random() % 5);
      blocks.push_back({.size = size + int64_t(random() % 512), .born = t, .died = t + life});
    }
    const BlockLayout layout = lay_out(blocks, 512);
    expect_apart(blocks, layout, 512);
    EXPECT_GE(layout.bytes, highest(blocks));
    EXPECT_LE(double(layout.bytes), 1.25 * double(highest(blocks)));
  }
}

}  // namespace
}  // namespace relume::cuda
