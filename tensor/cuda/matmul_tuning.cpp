#include "tensor/cuda/matmul_tuning.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace relume::cuda {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t largest_file = 64 << 20;
constexpr const char* format = "relume matmul algorithms 1";

std::mutex mutex;
MatmulTuning current;
std::atomic<int64_t> times_set{0};

std::string to_hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}
std::string from_hex(const std::string& text) {
  RELUME_CHECK(text.size() % 2 == 0 && text.find_first_not_of("0123456789abcdef") == text.npos, "'", text,
               "' is no hexadecimal number");
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) bytes += char(std::stoi(text.substr(i, 2), nullptr, 16));
  return bytes;
}

std::map<std::string, std::string> read(const std::filesystem::path& file) {
  std::map<std::string, std::string> algorithms;
  const Json all = Json::parse(read_file(file, largest_file));
  RELUME_CHECK(all.at("format") == format, "its format is not '", format, "'");
  for (const auto& [problem, algorithm] : all.at("algorithms").items()) algorithms[problem] = from_hex(algorithm);
  return algorithms;
}

}  // namespace

std::filesystem::path default_tuning_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return std::filesystem::path(cache) / "relume";
  if (const char* home = std::getenv("HOME"); home && *home) return std::filesystem::path(home) / ".cache" / "relume";
  return {};
}

void set_matmul_tuning(const MatmulTuning& tuning) {
  const std::lock_guard lock(mutex);
  current = tuning;
  ++times_set;
}
MatmulTuning matmul_tuning() {
  const std::lock_guard lock(mutex);
  return current;
}
int64_t matmul_tunings_set() { return times_set; }

TunedAlgorithms::TunedAlgorithms(std::filesystem::path file) : file_(std::move(file)) {
  if (!std::filesystem::exists(file_)) return;
  try {
    algorithms_ = read(file_);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: passed over, products are timed again: {}\n", file_.string(), e.what());
  }
}

std::optional<std::string> TunedAlgorithms::find(const std::string& problem) const {
  const auto found = algorithms_.find(problem);
  return found == algorithms_.end() ? std::nullopt : std::optional(found->second);
}

void TunedAlgorithms::keep(const std::string& problem, const std::string& algorithm) {
  algorithms_[problem] = algorithm;
  if (!writable_) return;
  Json all{{"format", format}, {"algorithms", Json::object()}};
  for (const auto& [name, bytes] : algorithms_) all["algorithms"][name] = to_hex(bytes);
  try {
    std::filesystem::create_directories(file_.parent_path());
    write_file_atomically(file_, all.dump(1) + "\n");
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: cannot be written, products are timed again next time: {}\n", file_.string(), e.what());
    writable_ = false;
  }
}

}  // namespace relume::cuda
