#include "base/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/files.h"

namespace relume {

namespace {
[[noreturn]] void fail(const std::filesystem::path& path, const char* what, double needed = 0) {
  const int reason = errno;
  throw Error(path.string() + ": " + what + ": " + std::generic_category().message(reason) + room_text(reason, path, needed));
}
}  // namespace

AppendFile::AppendFile(std::filesystem::path path, int64_t keep) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(path_, "cannot be opened for writing");
  struct stat facts {};
  const bool known = ::fstat(descriptor_, &facts) == 0;
  size_ = known ? std::min<int64_t>(keep, facts.st_size) : 0;
  if (!known || !S_ISREG(facts.st_mode) || (size_ < facts.st_size && ::ftruncate(descriptor_, size_) != 0)) {
    const int reason = known && !S_ISREG(facts.st_mode) ? EINVAL : errno;
    ::close(descriptor_);
    errno = reason;
    fail(path_, "cannot be cut back to where it is continued");
  }
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::write(std::string_view bytes) {
  const double needed = double(bytes.size());
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(path_, "cannot be written", needed);
    bytes.remove_prefix(size_t(done));
    size_ += done;
  }
}

void AppendFile::sync() {
  if (::fsync(descriptor_) != 0) fail(path_, "cannot be flushed to disk");
}

}  // namespace relume
