// ZIP archives, the part of the format that torch.save writes: stored entries, ZIP64 where needed. After PKWARE's APPNOTE 6.3.
// Read by a parser of our own over the mapped file, because what an archive says twice (central directory, local headers) must
// agree and nothing may be believed beyond the file's size.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/files.h"

namespace relume {

struct ZipEntry {
  std::string name;                // "archive/data/0"
  uint64_t offset = 0, bytes = 0;  // of its data in the file
  uint32_t crc = 0;                // of its data
};

// An archive's entries, checked whole when opened: at most 2^20 of them, each stored as it is, its local header the same as its
// entry in the central directory, its data within the file and overlapping no other, its name given once and without "..".
// Compressed or encrypted entries and archives of several parts are refused by name. Each violation is an InputError naming
// file, entry and rule. Any thread.
class ZipFile {
 public:
  ZipFile(MappedFile file, std::string where);

  const std::vector<ZipEntry>& entries() const { return entries_; }  // in the order of the central directory
  const ZipEntry* find(const std::string& name) const;               // null when there is none
  // The entry's data, valid as long as the file's memory is held. Its CRC-32 is verified the first time; InputError when it
  // differs.
  std::string_view bytes(const ZipEntry& entry) const;

 private:
  MappedFile file_;
  std::string where_;
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string, size_t> index_;
  mutable std::unique_ptr<std::atomic<bool>[]> verified_;  // of entries_[i]
};

// CRC-32 as ZIP has it.
uint32_t crc32_of(std::string_view bytes);

}  // namespace relume
