// Files: reading with a size limit, and writing so that a file is either whole or absent (design D8, D11).
#pragma once

#include <chrono>
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
  // Takes room on the disk for a file of so many bytes before they are written, so that a full disk shows at once. Where the
  // file system cannot do that, what is free is compared.
  void reserve(int64_t bytes);
  // For libraries that write by name, in place of write(): they may truncate this file (and lose what was reserved), not
  // replace it.
  const std::filesystem::path& temporary() const { return temporary_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* what, int error_number);
  std::filesystem::path target_, temporary_;
  int descriptor_ = -1;
  uint64_t written_ = 0, reserved_ = 0;
};
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

// What a failed write says about the disk: "; 6.0 GB needed, 2.1 GB free; make room and repeat" when that was the reason, else
// nothing. `held` bytes are ours already and will be given back.
std::string room_text(int error_number, const std::filesystem::path& file, double needed, double held = 0);

// Removes what killed processes left of files that AtomicFile was writing in this folder (not below it). In a folder that other
// machines write to as well, whose processes cannot be seen here, what changed within `untouched` is left alone.
void remove_leftovers(const std::filesystem::path& folder, std::chrono::seconds untouched = {});

// Creates the folder and its parents; throws an Error naming the path.
void make_folder(const std::filesystem::path& path);

// Regular files of a folder (recursively if asked) whose extension, lower-cased, is one of `extensions` (".jpg"), sorted by
// path. Throws InputError when `folder` is not a folder.
std::vector<std::filesystem::path> list_files(const std::filesystem::path& folder, const std::vector<std::string>& extensions,
                                              bool recursive);

}  // namespace relume
