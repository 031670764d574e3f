#include "data/pack/spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace relume {
namespace {

using Json = nlohmann::json;

[[noreturn]] void fail(const std::filesystem::path& path, const char* what) {
  throw Error(path.string() + ": cannot " + what + ": " + std::generic_category().message(errno) +
              "; what was packed so far is kept, go on with --resume");
}

int open_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(path, "be opened for writing");
  return descriptor;
}

std::string line_of(const SpoolEntry& e) {
  Json line;
  if (!e.bad.empty())
    line = {{"bad", e.bad}};
  else
    line = {{"height", e.height},
            {"width", e.width},
            {"xxh3", e.xxh3},
            {"short", e.captions.short_text},
            {"long", e.captions.long_text}};
  // Reasons quote names of files, which may be any bytes.
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

SpoolEntry entry_of(const Json& line) {
  if (line.contains("bad")) return {.bad = line.at("bad").get<std::string>()};
  SpoolEntry entry{.height = line.at("height").get<int32_t>(),
                   .width = line.at("width").get<int32_t>(),
                   .xxh3 = line.at("xxh3").get<uint64_t>(),
                   .captions = {line.at("short").get<std::string>(), line.at("long").get<std::string>()}};
  RELUME_CHECK(entry.height > 0 && entry.width > 0 && entry.height <= INT32_MAX / entry.width, "journal: a picture of ",
               entry.width, "x", entry.height, " pixels");
  return entry;
}

}  // namespace

Spool::Spool(const std::filesystem::path& target, uint64_t fingerprint, bool resume) {
  const std::string stem = "." + target.filename().string().substr(0, 200);
  pixels_path_ = target.parent_path() / (stem + ".pixels"), journal_path_ = target.parent_path() / (stem + ".journal");
  RELUME_CHECK(resume || !std::filesystem::exists(journal_path_), target.string(),
               ": an unfinished pack of this name exists; continue it with --resume, or remove ", journal_path_.string(),
               " to begin anew");
  journal_ = open_file(journal_path_);
  try {
    RELUME_CHECK(::flock(journal_, LOCK_EX | LOCK_NB) == 0, target.string(), ": another process is writing this pack");
    pixels_ = open_file(pixels_path_);
    read_journal(fingerprint);
  } catch (...) {
    ::close(journal_);
    if (pixels_ >= 0) ::close(pixels_);
    throw;
  }
}

Spool::~Spool() {
  ::close(pixels_);
  ::close(journal_);
}

void Spool::read_journal(uint64_t fingerprint) {
  const std::string text = read_file(journal_path_);
  struct stat facts {};
  if (::fstat(pixels_, &facts) != 0) fail(pixels_path_, "be looked at");
  size_t kept = 0;  // bytes of the journal
  try {
    for (size_t end; (end = text.find('\n', kept)) != std::string::npos; kept = end + 1) {
      const Json line = Json::parse(std::string_view(text).substr(kept, end - kept));
      if (kept == 0) {
        RELUME_CHECK(line.at("fingerprint").get<uint64_t>() == fingerprint, journal_path_.string(),
                     ": was begun with other pictures or options; repeat those, or remove it to begin anew");
        continue;
      }
      SpoolEntry entry = entry_of(line);
      if (entry.bytes() > facts.st_size - pixel_bytes_) break;
      pixel_bytes_ += entry.bytes();
      entries_.push_back(std::move(entry));
    }
  } catch (const Json::exception& e) {
    throw InputError(journal_path_.string() + ": damaged: " + e.what() + "; remove it to begin anew");
  }
  if (::ftruncate(journal_, off_t(kept)) != 0) fail(journal_path_, "be cut");
  if (::ftruncate(pixels_, off_t(pixel_bytes_)) != 0) fail(pixels_path_, "be cut");
  if (kept == 0) lines_ = Json{{"fingerprint", fingerprint}}.dump() + "\n";
}

void Spool::write(int descriptor, const std::filesystem::path& path, const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor, from, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(path, "be written");
    from += done, bytes -= size_t(done);
  }
}

void Spool::sync(int descriptor, const std::filesystem::path& path) {
  if (::fsync(descriptor) != 0) fail(path, "be flushed to disk");
}

void Spool::add(SpoolEntry entry, const void* pixels) {
  write(pixels_, pixels_path_, pixels, size_t(entry.bytes()));
  pixel_bytes_ += entry.bytes();
  lines_ += line_of(entry);
  entries_.push_back(std::move(entry));
}

void Spool::flush() {
  sync(pixels_, pixels_path_);
  const std::string lines = std::exchange(lines_, {});
  write(journal_, journal_path_, lines.data(), lines.size());
  sync(journal_, journal_path_);
}

void Spool::remove() {
  // The journal first: without it the pixels mean nothing, and are cut when another pack of this name begins.
  std::filesystem::remove(journal_path_);
  std::filesystem::remove(pixels_path_);
}

}  // namespace relume
