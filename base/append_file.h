// A file that only grows (a log), and can be cut back to where it stood when the state of a training was saved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace relume {

// Every failure is an Error that names the path and the system's reason, and the bytes free when the disk is full.
class AppendFile {
 public:
  // Opens `path`, making it if there is none, and cuts off what lies behind its first `keep` bytes.
  AppendFile(std::filesystem::path path, int64_t keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // Handed to the system at once: a killed process loses nothing that was written.
  void write(std::string_view bytes);
  void sync();                            // on disk when it returns; may be called by another thread than write()
  int64_t size() const { return size_; }  // less than `keep` at first where the file was shorter
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

}  // namespace relume
