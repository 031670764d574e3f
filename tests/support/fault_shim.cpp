// Preloaded into a command under test: makes its n-th call of one kind fail, or kills the process there.
//
//   RELUME_FAULT="CALL:N:WHAT:PATH"   CALL: write, fsync, rename, fallocate, ftruncate; N from 1, counted over calls that touch
//   a
//                                     path with PATH in it; WHAT: a number of errno, kill (before the call), torn (a write half
//                                     done, then kill)
//   RELUME_FAULT_COUNT=FILE           no fault: the number of such calls goes to FILE at the end
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

struct Fault {
  std::string call, path;
  long number = 0;
  int error = 0;
  bool kill = false, torn = false;
  const char* count_file = nullptr;
};

const Fault& fault() {
  static const Fault parsed = [] {
    Fault f;
    const char* text = std::getenv("RELUME_FAULT");
    char call[32] = "", what[32] = "", path[256] = "";
    if (text && std::sscanf(text, "%31[^:]:%ld:%31[^:]:%255s", call, &f.number, what, path) == 4) {
      f.call = call, f.path = path;
      f.torn = std::strcmp(what, "torn") == 0;
      f.kill = f.torn || std::strcmp(what, "kill") == 0;
      f.error = std::atoi(what);
      f.count_file = std::getenv("RELUME_FAULT_COUNT");
    }
    return f;
  }();
  return parsed;
}

std::atomic<long> calls{0};

// Whether this call is the one; it may not return.
bool strikes(const char* call, const char* path) {
  const Fault& f = fault();
  if (f.call != call || !path || !std::strstr(path, f.path.c_str())) return false;
  const long number = ++calls;
  if (f.count_file) return false;
  if (number != f.number) return false;
  if (f.kill && !f.torn) ::raise(SIGKILL);
  errno = f.error;
  return true;
}

bool strikes(const char* call, int descriptor) {
  if (fault().call != call) return false;
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length < 0) return false;
  path[length] = 0;
  return strikes(call, path);
}

template <class F> F* real(const char* name) { return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name)); }

struct CountAtEnd {
  ~CountAtEnd() {
    if (!fault().count_file) return;
    if (FILE* out = std::fopen(fault().count_file, "w")) {
      std::fprintf(out, "%ld\n", calls.load());
      std::fclose(out);
    }
  }
} count_at_end;

template <class Write> ssize_t written(int descriptor, size_t bytes, Write&& write) {
  if (!strikes("write", descriptor)) return write(bytes);
  if (!fault().torn) return -1;
  (void)!write(bytes / 2);
  ::raise(SIGKILL);
  return -1;
}

}  // namespace

extern "C" {

ssize_t write(int descriptor, const void* data, size_t bytes) {
  static auto* const call = real<ssize_t(int, const void*, size_t)>("write");
  return written(descriptor, bytes, [&](size_t n) { return call(descriptor, data, n); });
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t at) {
  static auto* const call = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
  return written(descriptor, bytes, [&](size_t n) { return call(descriptor, data, n, at); });
}
ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off64_t at) {
  static auto* const call = real<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  return written(descriptor, bytes, [&](size_t n) { return call(descriptor, data, n, at); });
}
int fsync(int descriptor) {
  static auto* const call = real<int(int)>("fsync");
  return strikes("fsync", descriptor) ? -1 : call(descriptor);
}
int ftruncate(int descriptor, off_t size) {
  static auto* const call = real<int(int, off_t)>("ftruncate");
  return strikes("ftruncate", descriptor) ? -1 : call(descriptor, size);
}
int fallocate(int descriptor, int mode, off_t at, off_t size) {
  static auto* const call = real<int(int, int, off_t, off_t)>("fallocate");
  return strikes("fallocate", descriptor) ? -1 : call(descriptor, mode, at, size);
}
int rename(const char* from, const char* to) {
  static auto* const call = real<int(const char*, const char*)>("rename");
  return strikes("rename", to) ? -1 : call(from, to);
}

}  // extern "C"
