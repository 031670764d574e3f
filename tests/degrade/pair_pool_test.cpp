#include "degrade/pair_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

// One-pixel pictures that hold their number; gt holds a value that is no 8-bit level.
Degraded numbered(int first, int count) {
  const Degraded pairs{Tensor::empty({count, 1, 1, 3}), Tensor::empty({count, 1, 1, 3})};
  for (int i = 0; i < 3 * count; ++i) {
    pairs.lq.data<float>()[i] = float(first + i / 3) / 255;
    pairs.gt.data<float>()[i] = float(first + i / 3) / 300;
  }
  return pairs;
}
int number_of(const Degraded& pairs, int i) { return int(std::lround(pairs.lq.data<float>()[3 * i] * 255)); }

TEST(PairPool, GivesWhatComesUntilItIsFullThenWhatThePermutationPutsFirst) {
  PairPool pool(4);
  for (int call = 0; call < 2; ++call) {
    EXPECT_FALSE(pool.full());
    EXPECT_EQ(number_of(pool.exchange(numbered(2 * call, 2), {}), 1), 2 * call + 1);
  }
  ASSERT_TRUE(pool.full());
  const std::vector<uint32_t> permutation{3, 0, 2, 1};
  Degraded out = pool.exchange(numbered(4, 2), permutation);  // the pool is 3 0 2 1, and then 4 5 2 1
  EXPECT_EQ(number_of(out, 0), 3);
  EXPECT_EQ(number_of(out, 1), 0);
  out = pool.exchange(numbered(6, 2), permutation);  // 1 4 2 5
  EXPECT_EQ(number_of(out, 0), 1);
  EXPECT_EQ(number_of(out, 1), 4);
  EXPECT_EQ(out.gt.data<float>()[0], 1.0f / 300) << "values that are no 8-bit levels come back to the last bit";
}

TEST(PairPool, NothingIsLostOrDoubled) {
  PairPool pool(8);
  std::vector<int> seen;
  RandomStream random({.seed = 1, .purpose = "pool"});
  for (int call = 0; call < 40; ++call) {
    std::vector<uint32_t> permutation(8);
    std::iota(permutation.begin(), permutation.end(), 0u);
    for (size_t i = 7; i > 0; --i) std::swap(permutation[i], permutation[size_t(random.below(int64_t(i) + 1))]);
    const bool full = pool.full();
    const Degraded out = pool.exchange(numbered(4 * call, 4), permutation);
    for (int i = 0; full && i < 4; ++i) seen.push_back(number_of(out, i));
  }
  std::ranges::sort(seen);
  EXPECT_EQ(seen.size(), 38u * 4);
  EXPECT_TRUE(std::ranges::adjacent_find(seen) == seen.end()) << "each pair leaves once";
}

TEST(PairPool, RefusesWhatDoesNotFit) {
  PairPool pool(4);
  EXPECT_HAS(test::input_error([&] { pool.exchange(numbered(0, 3), {}); }), "multiple of the batch");
  pool.exchange(numbered(0, 4), {});
  EXPECT_HAS(test::input_error([&] { pool.exchange(numbered(0, 4), {}); }), "permutation");
  EXPECT_THROW(PairPool(0), InputError);
}

}  // namespace
}  // namespace relume
