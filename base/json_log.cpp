#include "base/json_log.h"

#include <algorithm>

#include "base/files.h"

namespace relume {

namespace {

// Where the first `lines` whole lines of a file end.
int64_t end_of_lines(const std::filesystem::path& path, int64_t lines) {
  if (lines == 0 || !std::filesystem::exists(path)) return 0;
  const MappedFile file = map_file(path);
  size_t end = 0;
  for (size_t at = 0; lines > 0 && (at = file.bytes.find('\n', end)) != file.bytes.npos; --lines) end = at + 1;
  return int64_t(end);
}

int64_t lines_of(const std::filesystem::path& path) {
  const MappedFile file = map_file(path);
  return std::ranges::count(file.bytes, '\n');
}

}  // namespace

JsonLog::JsonLog(const std::filesystem::path& path, int64_t keep)
    : file_(path, end_of_lines(path, keep)), lines_(lines_of(path)) {}

void JsonLog::write(const nlohmann::ordered_json& line) {
  // Names of files may be any bytes.
  file_.write(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  ++lines_;
}

}  // namespace relume
