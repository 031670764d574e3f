// What a pack in the making has got so far, beside its target, so that it can be continued after an interrupt, a crash or a
// power cut: .NAME.pixels holds the pictures' bytes one after another, .NAME.journal one JSON line per picture of the source.
// Pixels reach the disk before the lines that speak of them; a last line that is not whole is forgotten.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/file_list.h"

namespace relume {

// What became of one picture of the source.
struct SpoolEntry {
  int64_t height = 0, width = 0;
  uint64_t xxh3 = 0;
  Captions captions;
  std::string bad;  // why it was passed over; empty: it was taken

  int64_t bytes() const { return height * width * 3; }
};

class Spool {
 public:
  // Begins a spool for `target`, or continues the one that is there. `fingerprint` stands for the source and all that decides
  // what is packed: continuing with another one is an InputError, and so is beginning where one lies, unless `resume`.
  Spool(const std::filesystem::path& target, uint64_t fingerprint, bool resume);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  const std::vector<SpoolEntry>& entries() const { return entries_; }
  int64_t pixel_bytes() const { return pixel_bytes_; }
  const std::filesystem::path& pixels() const { return pixels_path_; }

  // `pixels` holds entry.bytes() bytes; on disk for certain after flush().
  void add(SpoolEntry entry, const void* pixels);
  void flush();
  void remove();  // the target is whole: both files go

 private:
  void read_journal(uint64_t fingerprint);
  void write(int descriptor, const std::filesystem::path& path, const void* data, size_t bytes);
  void sync(int descriptor, const std::filesystem::path& path);

  std::filesystem::path pixels_path_, journal_path_;
  int pixels_ = -1, journal_ = -1;
  std::string lines_;  // of the journal, not yet written
  std::vector<SpoolEntry> entries_;
  int64_t pixel_bytes_ = 0;
};

}  // namespace relume
