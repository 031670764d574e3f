// Files: reading with a size limit, and writing so that a file is either whole or absent (design D8, D11).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace relume {

// The whole file. Throws InputError when it is missing, not a regular file, or larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, int64_t limit = int64_t(1) << 32);

// A file's bytes, mapped read-only for as long as a copy of `memory` lives.
struct MappedFile {
  std::shared_ptr<void> memory;
  std::string_view bytes;
};

// Maps a whole file. Throws InputError when it is missing or not a regular file.
MappedFile map_file(const std::filesystem::path& path);

// A file under a temporary name in the target's folder; commit() flushes, fsyncs and renames it into place. Without commit()
// (an exception, an early return) the temporary file is removed and an existing target stays as it was.
// Every write error throws an Error that names the path, the system's reason, and the bytes needed and free when the disk is
// full.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // For libraries that write by name, in place of write(): they may truncate this file, not replace it.
  const std::filesystem::path& temporary() const { return temporary_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error_number);
  std::filesystem::path target_, temporary_;
  int descriptor_ = -1;
  uint64_t written_ = 0;
};
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// Removes what AtomicFiles of killed processes left in a folder: temporary files that have not changed for a minute and whose
// process is no more. Gives their number; a folder that is not there holds none.
int64_t remove_abandoned_files(const std::filesystem::path& folder);

// Creates the folder and its parents; throws an Error naming the path.
void make_folder(const std::filesystem::path& path);

// Regular files of a folder (recursively if asked) whose extension, lower-cased, is one of `extensions` (".jpg"), sorted by
// path. Throws InputError when `folder` is not a folder.
std::vector<std::filesystem::path> list_files(const std::filesystem::path& folder, const std::vector<std::string>& extensions,
                                              bool recursive);

}  // namespace relume
