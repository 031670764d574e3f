#include "tensor/core/free_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>
#include <vector>

namespace relume::test {
namespace {

constexpr int64_t megabyte = int64_t(1) << 20, huge = FreePages::huge;

int64_t resident_bytes_of(void* block, int64_t size) {
  constexpr int64_t page = 4096;
  std::vector<unsigned char> pages(size_t(size / page));
  if (mincore(block, size_t(size), pages.data()) != 0) return 0;  // some of it is not mapped at all
  int64_t count = 0;
  for (const unsigned char c : pages) count += c & 1;
  return count * page;
}

void* touched(void* block, int64_t size) {
  std::memset(block, 1, size_t(size));
  return block;
}

void give_all_back(FreePages& pages) {
  while (pages.oldest(FreePages::Among::all)) pages.give_back_oldest(pages.bytes(), FreePages::Among::all);
}

TEST(FreePages, NewPagesAreAlignedToHugeOnes) {
  FreePages pages;
  EXPECT_EQ(pages.take(huge), nullptr);
  void* const block = pages.take_new(2 * huge + FreePages::unit);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % huge, 0u);
  EXPECT_EQ(pages.bytes(), huge - FreePages::unit) << "the rest of the last page can be had";
  pages.put(block, 2 * huge + FreePages::unit, 1);
  EXPECT_EQ(pages.bytes(), 3 * huge);
  EXPECT_EQ(pages.longest(), 3 * huge);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

TEST(FreePages, ABlockIsCutOutOfTheSmallestRangeThatHoldsIt) {
  FreePages pages;
  char* const all = static_cast<char*>(touched(pages.take_new(32 * megabyte), 32 * megabyte));
  pages.put(all, 10 * megabyte, 1);
  pages.put(all + 20 * megabyte, 6 * megabyte, 2);
  EXPECT_EQ(pages.take(5 * megabyte), all + 20 * megabyte);
  EXPECT_EQ(pages.take(9 * megabyte), all);
  EXPECT_EQ(pages.take(2 * megabyte), nullptr) << "one megabyte is left in two places";
  pages.put(all + 10 * megabyte, 10 * megabyte, 3);  // its neighbours are free in part
  EXPECT_EQ(pages.longest(), 11 * megabyte);
  EXPECT_EQ(pages.take(11 * megabyte), all + 9 * megabyte) << "neighbours are one range";
  EXPECT_EQ(resident_bytes_of(all, 32 * megabyte), 32 * megabyte);
  pages.put(all, 25 * megabyte, 4), pages.put(all + 26 * megabyte, 6 * megabyte, 5);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

TEST(FreePages, GrowingAddsNoMorePagesThanAreMissing) {
  FreePages pages;
  EXPECT_EQ(pages.take_grown(huge), nullptr);
  pages.put(touched(pages.take_new(32 * megabyte), 32 * megabyte), 32 * megabyte, 1);
  void* const block = pages.take_grown(48 * megabyte);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(resident_bytes_of(block, 48 * megabyte), 32 * megabyte);
  EXPECT_EQ(pages.bytes(), 0);
  pages.put(block, 48 * megabyte, 2);
  give_all_back(pages);
}

TEST(FreePages, WhereOthersLieOnBothSidesNothingGrows) {
  FreePages pages;
  char* const all = static_cast<char*>(pages.take_new(32 * megabyte));
  pages.put(all + 8 * megabyte, 8 * megabyte, 1);
  EXPECT_EQ(pages.take_grown(16 * megabyte), nullptr);
  EXPECT_EQ(pages.bytes(), 8 * megabyte);
  pages.put(all, 8 * megabyte, 2), pages.put(all + 16 * megabyte, 16 * megabyte, 2);
  give_all_back(pages);
}

TEST(FreePages, ABlockIsMadeOfOthersPagesBeforeNewOnes) {
  FreePages pages;
  char* const all = static_cast<char*>(touched(pages.take_new(32 * megabyte), 32 * megabyte));
  pages.put(all + megabyte, 9 * megabyte, 1);  // four whole huge pages
  pages.put(all + 16 * megabyte, 8 * megabyte, 2);
  EXPECT_EQ(pages.whole(FreePages::Among::all), 16 * megabyte);
  EXPECT_EQ(pages.whole(FreePages::Among::all_but_longest), 8 * megabyte);
  char* const block = static_cast<char*>(pages.take_new(20 * megabyte));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(resident_bytes_of(block, 16 * megabyte), 16 * megabyte);
  EXPECT_EQ(resident_bytes_of(block + 16 * megabyte, 4 * megabyte), 0) << "new ones, not written yet";
  for (int64_t i = 0; i < 16 * megabyte; i += 4096) ASSERT_EQ(block[i], 1) << "at " << i;
  EXPECT_EQ(resident_bytes_of(all, 2 * megabyte), 2 * megabyte);
  EXPECT_EQ(resident_bytes_of(all + 2 * megabyte, 8 * megabyte), 0);
  EXPECT_EQ(resident_bytes_of(all + 10 * megabyte, 6 * megabyte), 6 * megabyte);
  EXPECT_EQ(pages.bytes(), megabyte) << "half a page of another's";
  pages.put(block, 20 * megabyte, 3), pages.put(all, megabyte, 3), pages.put(all + 10 * megabyte, 6 * megabyte, 3);
  pages.put(all + 24 * megabyte, 8 * megabyte, 3);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

TEST(FreePages, TheLongestGrowsByOthersPagesBeforeNewOnes) {
  FreePages pages;
  char* const room = static_cast<char*>(pages.take_new(48 * megabyte));
  pages.put(room, 16 * megabyte, 1);
  give_all_back(pages);  // nothing lies there now
  char* const all = static_cast<char*>(touched(room + 16 * megabyte, 32 * megabyte));
  pages.put(all, 12 * megabyte, 2), pages.put(all + 24 * megabyte, 8 * megabyte, 1);
  char* const block = static_cast<char*>(pages.take_grown(16 * megabyte));
  ASSERT_EQ(block, all - 4 * megabyte);
  EXPECT_EQ(resident_bytes_of(block, 16 * megabyte), 16 * megabyte);
  EXPECT_EQ(resident_bytes_of(all + 28 * megabyte, 4 * megabyte), 0) << "the last ones were moved";
  EXPECT_EQ(pages.bytes(), 4 * megabyte);
  pages.put(block, 16 * megabyte, 3), pages.put(all + 12 * megabyte, 12 * megabyte, 3);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

TEST(FreePages, GivesTheOldestBackByWholeHugePages) {
  FreePages pages;
  char* const all = static_cast<char*>(touched(pages.take_new(64 * megabyte), 64 * megabyte));
  pages.put(all + megabyte, 12 * megabyte, 2);  // five whole huge pages and a half on either side
  pages.put(all + 20 * megabyte, 20 * megabyte, 1);
  EXPECT_EQ(pages.oldest(FreePages::Among::all), 1u);
  EXPECT_EQ(pages.oldest(FreePages::Among::all_but_longest), 2u);
  pages.give_back_oldest(3 * megabyte, FreePages::Among::all_but_longest);
  EXPECT_EQ(pages.bytes(), 28 * megabyte);
  EXPECT_EQ(resident_bytes_of(all, 8 * megabyte), 8 * megabyte) << "the end is given back";
  EXPECT_EQ(resident_bytes_of(all + 8 * megabyte, 4 * megabyte), 0);
  EXPECT_EQ(resident_bytes_of(all + 12 * megabyte, 52 * megabyte), 52 * megabyte);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 2 * megabyte) << "half a page of others' on either side";
  EXPECT_EQ(resident_bytes_of(all, 2 * megabyte), 2 * megabyte);
  pages.put(all, megabyte, 3), pages.put(all + 13 * megabyte, 7 * megabyte, 3);
  pages.put(all + 40 * megabyte, 24 * megabyte, 3);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

// Blocks that come and go at random keep what was written to them, and in the end every page is free.
TEST(FreePages, BlocksNeverOverlap) {
  struct Block {
    char* begin;
    int64_t size;
    char value;
  };
  FreePages pages;
  std::vector<Block> blocks;
  std::mt19937 random(1);
  uint64_t when = 0;
  const auto check = [](const Block& b) {
    for (int64_t i = 0; i < b.size; i += 4096) ASSERT_EQ(b.begin[i], b.value) << "at " << i << " of " << b.size;
  };
  for (int step = 0; step < 2000; ++step) {
    if (blocks.size() < 12 && random() % 2 == 0) {
      const int64_t size = huge + int64_t(random() % 96) * FreePages::unit;
      void* at = pages.take(size);
      if (!at && random() % 2 == 0) at = pages.take_grown(size);
      if (!at) at = pages.take_new(size);
      ASSERT_NE(at, nullptr);
      blocks.push_back({static_cast<char*>(at), size, char(random() % 128)});
      std::memset(at, blocks.back().value, size_t(size));
    } else if (!blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      check(blocks.back());
      pages.put(blocks.back().begin, blocks.back().size, ++when);
      blocks.pop_back();
    }
    if (step % 50 == 0 && pages.oldest(FreePages::Among::all)) pages.give_back_oldest(huge, FreePages::Among::all);
  }
  for (const Block& b : blocks) check(b), pages.put(b.begin, b.size, ++when);
  give_all_back(pages);
  EXPECT_EQ(pages.bytes(), 0);
}

}  // namespace
}  // namespace relume::test
