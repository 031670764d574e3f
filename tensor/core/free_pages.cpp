#include "tensor/core/free_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "base/rounding.h"

namespace relume {
namespace {

constexpr int64_t huge = FreePages::huge;

bool at_huge_page(const char* place) { return reinterpret_cast<uintptr_t>(place) % huge == 0; }

void* map_pages(void* at, int64_t size, int flags) {
  void* const mapped = mmap(at, size_t(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

// New pages at exactly this place; false where something lies there.
bool map_at(char* place, int64_t size) {
  void* const mapped = map_pages(place, size, MAP_FIXED_NOREPLACE);
  if (!mapped) return false;
  if (mapped != place) return munmap(mapped, size_t(size)), false;  // a kernel that does not know the flag
  return true;
}

// The whole huge pages of a range: where they begin, and their bytes.
std::pair<char*, int64_t> whole_pages(char* begin, int64_t size) {
  const int64_t skipped = (huge - int64_t(reinterpret_cast<uintptr_t>(begin) % huge)) % huge;
  return {begin + skipped, std::max<int64_t>(0, size - skipped) / huge * huge};
}

}  // namespace

void* FreePages::take(int64_t size) {
  const auto found = by_size_.lower_bound({size, nullptr});
  if (found == by_size_.end()) return nullptr;
  char* const begin = found->second;
  const auto at = ranges_.find(begin);
  const Range range = at->second;
  erase(at);
  if (range.size > size) insert(begin + size, {range.size - size, range.when});
  return begin;
}

void* FreePages::take_grown(int64_t size) {
  if (by_size_.empty()) return nullptr;
  char* const begin = by_size_.rbegin()->second;
  const auto at = ranges_.find(begin);
  const Range range = at->second;
  const int64_t added = round_up(size - range.size, huge);
  char *const end = begin + range.size, *const before = begin - added;
  char* const place = at_huge_page(end) && map_at(end, added)        ? end
                      : at_huge_page(begin) && map_at(before, added) ? before
                                                                     : nullptr;
  if (!place) return nullptr;
  if (!fill(place, added, Among::all_but_longest)) return munmap(place, size_t(added)), nullptr;
  put(place, added, range.when);
  return take(size);
}

void* FreePages::take_new(int64_t size) {
  const int64_t wanted = round_up(size, huge);
  void* const mapped = map_pages(nullptr, wanted + huge, 0);
  if (!mapped) return nullptr;
  const auto [begin, bytes] = whole_pages(static_cast<char*>(mapped), wanted + huge);
  char *const outer = static_cast<char*>(mapped), *const end = begin + wanted;
  if (begin > outer) munmap(outer, size_t(begin - outer));
  if (const int64_t tail = outer + wanted + huge - end; tail > 0) munmap(end, size_t(tail));
  if (!fill(begin, wanted, Among::all)) return munmap(begin, size_t(wanted)), nullptr;
  if (wanted > size) put(begin + size, wanted - size, 0);
  return begin;
}

void FreePages::put(void* block, int64_t size, uint64_t when) {
  char* begin = static_cast<char*>(block);
  Range range{size, when};
  const auto next = ranges_.lower_bound(begin);
  if (next != ranges_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second.size == begin) {
      begin = before->first;
      range = {range.size + before->second.size, std::max(range.when, before->second.when)};
      erase(before);
    }
  }
  if (next != ranges_.end() && begin + range.size == next->first) {
    range = {range.size + next->second.size, std::max(range.when, next->second.when)};
    erase(next);
  }
  insert(begin, range);
}

std::optional<uint64_t> FreePages::oldest(Among among) const {
  const auto found = oldest_range(among);
  return found == ranges_.end() ? std::nullopt : std::optional(found->second.when);
}

int64_t FreePages::give_back_oldest(int64_t most, Among among) {
  const auto [place, size] = cut_oldest(most, among);
  munmap(place, size_t(size));
  return size;
}

std::pair<char*, int64_t> FreePages::cut_oldest(int64_t most, Among among) {
  const auto found = oldest_range(among);
  char* const begin = found->first;
  const Range range = found->second;
  auto [first, bytes] = whole_pages(begin, range.size);
  const int64_t cut = std::min(bytes, round_up(most, huge));
  first += bytes - cut;  // the last ones: what is taken next begins with the first
  erase(found);
  if (first > begin) insert(begin, {first - begin, range.when});
  char* const behind = first + cut;
  if (const int64_t left = begin + range.size - behind; left > 0) insert(behind, {left, range.when});
  return {first, cut};
}

bool FreePages::fill(char* place, int64_t size, Among among) {
  while (size > 0 && oldest(among)) {
    const auto [from, bytes] = cut_oldest(size, among);
    // One by one: each may be a mapping of its own by now.
    for (int64_t at = 0; at < bytes; at += huge) {
      if (mremap(from + at, size_t(huge), size_t(huge), MREMAP_MAYMOVE | MREMAP_FIXED, place + at) != MAP_FAILED) continue;
      // Perhaps too many mappings; the place may have been unmapped already.
      munmap(from + at, size_t(bytes - at));
      return map_pages(place + at, huge, MAP_FIXED) != nullptr;
    }
    place += bytes, size -= bytes;
  }
  return true;
}

int64_t FreePages::whole(Among among) const {
  int64_t bytes = 0;
  for (const auto& [begin, range] : ranges_) bytes += whole_pages(begin, range.size).second;
  if (among == Among::all_but_longest && !by_size_.empty())
    bytes -= whole_pages(by_size_.rbegin()->second, by_size_.rbegin()->first).second;
  return bytes;
}

FreePages::Ranges::const_iterator FreePages::oldest_range(Among among) const {
  char* const left_out = among == Among::all_but_longest && !by_size_.empty() ? by_size_.rbegin()->second : nullptr;
  auto found = ranges_.end();
  for (auto range = ranges_.begin(); range != ranges_.end(); ++range) {
    if (range->first == left_out || whole_pages(range->first, range->second.size).second == 0) continue;
    if (found == ranges_.end() || range->second.when < found->second.when) found = range;
  }
  return found;
}

void FreePages::insert(char* begin, const Range& range) {
  ranges_.emplace(begin, range);
  by_size_.emplace(range.size, begin);
  bytes_ += range.size;
}

void FreePages::erase(Ranges::const_iterator range) {
  by_size_.erase({range->second.size, range->first});
  bytes_ -= range->second.size;
  ranges_.erase(range);
}

}  // namespace relume
