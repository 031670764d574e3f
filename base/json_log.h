// A log of JSON lines: one object per line, written through at once so that a killed run loses at most the last one.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace relume {

class JsonLog {
 public:
  explicit JsonLog(const std::filesystem::path& path);  // an existing file is replaced; throws an Error naming the path
  void write(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace relume
