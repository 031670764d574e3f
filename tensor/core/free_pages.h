// Mapped memory that nobody uses at the moment, for the CPU's pool of large blocks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace relume {

// Ranges of mapped pages; neighbours are one range. A block is cut out of the smallest range that holds it, so pages that were
// written once serve blocks of any sizes: fresh ones must be cleared, which can take longer than to compute on them. Where no
// range holds a block, whole huge pages of other ranges are moved to where it will be before the system is asked for new ones.
// Mappings are aligned to huge pages, for systems that give those to everybody, and given back by whole ones, or such a system
// would keep them; they are not asked for (docs/performance.md: nothing computes faster with them, and a virtual machine may
// take ten times as long to make one). Blocks begin and end at multiples of `unit`. Not for several threads at once.
class FreePages {
 public:
  static constexpr int64_t huge = int64_t(2) << 20, unit = int64_t(64) << 10;

  int64_t bytes() const { return bytes_; }
  int64_t longest() const { return by_size_.empty() ? 0 : by_size_.rbegin()->first; }

  // A block of a range; null where none is as long.
  void* take(int64_t size);
  // A block that the longest range is a part of, with others' pages and new ones beside it; null where something lies there.
  void* take_grown(int64_t size);
  // A block somewhere else, of others' pages and new ones; null where the system gives none.
  void* take_new(int64_t size);
  void put(void* block, int64_t size, uint64_t when);

  enum class Among { all, all_but_longest };
  // The bytes of whole huge pages: what can be moved or given back. The rest lies in pages that blocks use, too.
  int64_t whole(Among among) const;
  // When that was freed which of these was freed longest ago.
  std::optional<uint64_t> oldest(Among among) const;
  // Gives `most` bytes of that, rounded to huge pages, or all of it, back to the system; how many these were.
  int64_t give_back_oldest(int64_t most, Among among);

 private:
  struct Range {
    int64_t size;
    uint64_t when;
  };
  using Ranges = std::map<char*, Range>;

  Ranges::const_iterator oldest_range(Among among) const;
  // Takes the last whole huge pages of the oldest range, `most` bytes of them rounded up, out of it.
  std::pair<char*, int64_t> cut_oldest(int64_t most, Among among);
  // Moves whole huge pages to a place that is mapped and not in use, until it is full or there are none left. False where the
  // system refuses: then nothing is mapped at some of it.
  bool fill(char* place, int64_t size, Among among);
  void insert(char* begin, const Range& range);
  void erase(Ranges::const_iterator range);

  Ranges ranges_;
  std::set<std::pair<int64_t, char*>> by_size_;
  int64_t bytes_ = 0;
};

}  // namespace relume
