#include "base/json_log.h"

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace relume {

JsonLog::JsonLog(const std::filesystem::path& path) : path_(path), out_(path, std::ios::trunc) {
  if (!out_) throw Error(path.string() + ": cannot be opened for writing: " + std::strerror(errno));
}

void JsonLog::write(const nlohmann::ordered_json& line) {
  // Names of files may be any bytes.
  out_ << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
  if (!out_) throw Error(path_.string() + ": cannot be written: " + std::strerror(errno) + "; free some space and start again");
}

}  // namespace relume
