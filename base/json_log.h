// A log of JSON lines: one object per line, handed to the system at once so that a killed process loses none.
#pragma once

#include <nlohmann/json.hpp>

#include "base/append_file.h"

namespace relume {

class JsonLog {
 public:
  // Continues behind the first `keep` lines: lines and not bytes, since a line that holds a time has no fixed length. Throws an
  // Error naming the path, here and when a line cannot be written.
  explicit JsonLog(const std::filesystem::path& path, int64_t keep = 0);
  void write(const nlohmann::ordered_json& line);
  int64_t lines() const { return lines_; }  // at first less than `keep` where the file had fewer
  AppendFile& file() { return file_; }

 private:
  AppendFile file_;
  int64_t lines_;
};

}  // namespace relume
