// Writes ZIP archives as torch.save does: stored entries whose data begins at multiples of 64 bytes, so that a reader can map
// them; ZIP64 fields where a size or position needs them; no time stamps, so that equal contents are equal files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/files.h"

namespace relume {

class ZipWriter {
 public:
  // Numbers from `zip64_from` on go into ZIP64 fields; smaller than the format's own only in tests.
  explicit ZipWriter(const std::filesystem::path& path, uint64_t zip64_from = 0xFFFFFFFF)
      : file_(path), zip64_from_(zip64_from) {}
  void add(const std::string& name, const void* data, size_t bytes);
  void add(const std::string& name, std::string_view text) { add(name, text.data(), text.size()); }
  void commit();  // without it the file does not come into being

 private:
  void write(std::string_view bytes);
  AtomicFile file_;
  uint64_t zip64_from_, at_ = 0, entries_ = 0;
  std::string directory_;  // the central directory so far
};

}  // namespace relume
