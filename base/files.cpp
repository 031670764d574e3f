#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace relume {

namespace fs = std::filesystem;

namespace {

std::string reason(int error_number) { return std::generic_category().message(error_number); }

fs::path folder_of(const fs::path& file) { return file.has_parent_path() ? file.parent_path() : fs::path("."); }

// Closes on every way out.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

// Opens a regular file for reading and gives its size.
std::pair<int, int64_t> open_regular(const fs::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer; it is refused below.
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  RELUME_CHECK(file.value >= 0, path.string(), ": cannot open: ", reason(errno));
  struct stat facts {};
  RELUME_CHECK(::fstat(file.value, &facts) == 0, path.string(), ": cannot read its size: ", reason(errno));
  RELUME_CHECK(!S_ISDIR(facts.st_mode), path.string(), ": is a folder, expected a file");
  RELUME_CHECK(S_ISREG(facts.st_mode), path.string(), ": is not a regular file");
  return {std::exchange(file.value, -1), facts.st_size};
}

// The process that a temporary file of AtomicFile is named after, ".<name>.<process>.<number>.tmp"; 0 for other names.
pid_t writer_of(const std::string& name) {
  const std::vector<std::string> parts = split(name, '.');
  if (parts.size() < 5 || !parts.front().empty() || parts.back() != "tmp") return 0;
  const auto is_number = [](const std::string& text) {
    return !text.empty() && text.size() <= 9 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  const std::string &process = parts[parts.size() - 3], &number = parts[parts.size() - 2];
  return is_number(process) && is_number(number) ? pid_t(std::stol(process)) : 0;
}

}  // namespace

std::string read_file(const fs::path& path, int64_t limit) {
  const auto [descriptor, size] = open_regular(path);
  const Descriptor file{descriptor};
  RELUME_CHECK(size <= limit, path.string(), ": ", size, " bytes, more than the ", limit, " allowed here");
  std::string contents(size_t(size), '\0');
  size_t have = 0;
  while (have < contents.size()) {
    const ssize_t got = ::read(file.value, contents.data() + have, contents.size() - have);
    if (got < 0 && errno == EINTR) continue;
    RELUME_CHECK(got >= 0, path.string(), ": cannot read: ", reason(errno));
    if (got == 0) break;
    have += size_t(got);
  }
  RELUME_CHECK(have == contents.size(), path.string(), ": ended after ", have, " of ", contents.size(),
               " bytes; it was cut while being read");
  return contents;
}

MappedFile map_file(const fs::path& path) {
  const auto [descriptor, size] = open_regular(path);
  const Descriptor file{descriptor};
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size_t(size), PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) throw Error(path.string() + ": cannot be mapped into memory: " + reason(errno));
  std::shared_ptr<void> memory(address, [bytes = size_t(size)](void* p) { ::munmap(p, bytes); });
  return {std::move(memory), {static_cast<const char*>(address), size_t(size)}};
}

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)) {
  RELUME_CHECK(target_.has_filename(), target_.string(), ": cannot write: not the name of a file");
  // A link is followed, so that what it points at is replaced and the link stays.
  std::error_code error;
  if (fs::is_symlink(target_, error)) {
    if (const fs::path resolved = fs::weakly_canonical(target_, error); !error) target_ = resolved;
  }
  // Renaming onto a device or a pipe would put a file in its place.
  const fs::file_status status = fs::status(target_, error);
  RELUME_CHECK(!fs::is_directory(status), target_.string(), ": cannot write: a folder of this name exists");
  RELUME_CHECK(!fs::exists(status) || fs::is_regular_file(status), target_.string(), ": cannot write: not a regular file");
  // A leading dot keeps what a killed process leaves out of listings; the name is shortened so that a target with a name of the
  // greatest length can be written.
  static std::atomic<unsigned> counter{0};
  const std::string stem = detail::concat(".", target_.filename().string().substr(0, 200), ".", ::getpid(), ".");
  fs::path name;
  do {
    name = folder_of(target_) / (stem + std::to_string(counter++) + ".tmp");
    descriptor_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail("cannot create a temporary file beside it", errno);
  temporary_ = name;
  // Replacing a file keeps its permissions. Some file systems have none to set; the contents are as good without.
  if (struct stat facts{}; ::stat(target_.c_str(), &facts) == 0) (void)!::fchmod(descriptor_, facts.st_mode & 0777);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  RELUME_BUG(descriptor_ >= 0, "write to ", target_.string(), " after commit");
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor_, from, bytes);
    if (done < 0) {
      if (errno == EINTR) continue;
      written_ += bytes;  // what the message calls needed
      fail("cannot write", errno);
    }
    from += done;
    bytes -= size_t(done);
    written_ += uint64_t(done);
  }
}

void AtomicFile::commit() {
  RELUME_BUG(descriptor_ >= 0, "second commit of ", target_.string());
  if (::fsync(descriptor_) != 0) fail("cannot flush to disk", errno);
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("cannot close", errno);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot rename the finished file into place", errno);
  temporary_.clear();
  // The rename itself lasts only once the folder is on disk. Folders that cannot be fsynced exist; the file is whole either
  // way.
  const Descriptor folder{::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.value >= 0) ::fsync(folder.value);
}

void AtomicFile::reserve(int64_t bytes) {
  reserved_ = uint64_t(bytes);
  if (bytes <= 0 || ::fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0) return;
  if (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL) fail("cannot reserve its room", errno);
  struct statvfs disk {};
  if (::statvfs(folder_of(target_).c_str(), &disk) == 0 && double(disk.f_bavail) * double(disk.f_frsize) < double(bytes))
    fail("cannot reserve its room", ENOSPC);
}

void AtomicFile::fail(const char* what, int error_number) {
  // The temporary file still holds its blocks, so that what is free to us is what is free now and what it gives back.
  struct stat facts {};
  const double held = !temporary_.empty() && ::stat(temporary_.c_str(), &facts) == 0 ? double(facts.st_blocks) * 512 : 0;
  throw Error(detail::concat(target_.string(), ": ", what, ": ", reason(error_number),
                             room_text(error_number, target_, double(std::max(written_, reserved_)), held)));
}

std::string room_text(int error_number, const fs::path& file, double needed, double held) {
  struct statvfs disk {};
  if ((error_number != ENOSPC && error_number != EDQUOT) || ::statvfs(folder_of(file).c_str(), &disk) != 0) return {};
  return detail::concat("; at least ", human_bytes(needed), " needed, ",
                        human_bytes(double(disk.f_bavail) * double(disk.f_frsize) + held), " free; make room and repeat");
}

void remove_leftovers(const fs::path& folder, std::chrono::seconds untouched) {
  std::error_code ignored;  // what cannot be listed or removed does no harm
  std::vector<fs::path> found;
  for (fs::directory_iterator at(folder, ignored), end; at != end; at.increment(ignored)) {
    const pid_t process = writer_of(at->path().filename().string());
    if (process == 0 || at->is_symlink(ignored) || !at->is_regular_file(ignored)) continue;
    if (::kill(process, 0) == 0 || errno != ESRCH) continue;  // it lives
    if (fs::file_time_type::clock::now() - at->last_write_time(ignored) >= untouched) found.push_back(at->path());
  }
  for (const fs::path& path : found) fs::remove(path, ignored);
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error && !fs::is_directory(path, error)) error = std::make_error_code(std::errc::not_a_directory);
  if (error) throw Error(path.string() + ": cannot create the folder: " + error.message());
}

std::vector<fs::path> list_files(const fs::path& folder, const std::vector<std::string>& extensions, bool recursive) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  RELUME_CHECK(fs::exists(status), folder.string(), ": no such folder");
  RELUME_CHECK(fs::is_directory(status), folder.string(), ": is not a folder");
  std::vector<fs::path> found;
  // Links to files count; links to folders are not followed, so that no loop of links catches us.
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!recursive) at.disable_recursion_pending();
    std::error_code broken_link;
    if (!at->is_regular_file(broken_link)) continue;
    const std::string extension = lower_case(at->path().extension().string());
    if (std::find(extensions.begin(), extensions.end(), extension) != extensions.end()) found.push_back(at->path());
  }
  RELUME_CHECK(!error, folder.string(), ": cannot list the folder: ", error.message());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace relume
