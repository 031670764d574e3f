#include "base/machine.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "base/text.h"

namespace relume {

namespace fs = std::filesystem;

namespace {

constexpr int64_t no_limit = int64_t(1) << 60;  // what control groups call unlimited is larger

// A file of /proc or /sys, whose size says nothing, up to a few megabytes; empty when it cannot be read.
std::string contents(const fs::path& path) {
  constexpr size_t most = size_t(4) << 20;
  std::ifstream in(path, std::ios::binary);
  std::string text;
  char buffer[16384];
  while (text.size() < most && (in.read(buffer, sizeof buffer), in.gcount() > 0)) text.append(buffer, size_t(in.gcount()));
  return text;
}

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n"), end = text.find_last_not_of(" \t\n");
  return begin == std::string_view::npos ? "" : std::string(text.substr(begin, end - begin + 1));
}

// The number that a text begins with; `otherwise` when it begins with none ("max").
int64_t number(std::string_view text, int64_t otherwise = 0) {
  int64_t value = otherwise;
  const size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return value;
}

// What stands after `key` at the beginning of a line, without `:` and blanks; empty when no line begins so.
std::string field(const std::string& text, const std::string& key) {
  for (const std::string& line : split(text, '\n'))
    if (line.starts_with(key))
      return trimmed(std::string_view(line).substr(std::min(line.find_first_not_of(" \t:", key.size()), line.size())));
  return {};
}

int64_t kilobytes(const std::string& meminfo, const std::string& key) { return number(field(meminfo, key)) * 1024; }

// The folders of this process's control group and all above it, deepest first; `controller` of version 1 ("memory"), or empty
// for version 2.
std::vector<fs::path> control_groups(const fs::path& root, const std::string& controller) {
  for (const std::string& line : split(contents(root / "proc/self/cgroup"), '\n')) {  // "4:memory:/a/b", "0::/a/b"
    const size_t first = line.find(':'), second = line.find(':', first == std::string::npos ? first : first + 1);
    if (second == std::string::npos) continue;
    const std::vector<std::string> controllers = split(line.substr(first + 1, second - first - 1), ',');
    const bool ours = controller.empty() ? controllers.empty() : std::ranges::count(controllers, controller) > 0;
    if (!ours) continue;
    const fs::path mount = root / "sys/fs/cgroup" / controller;
    std::vector<fs::path> folders;
    for (fs::path group = fs::path(line.substr(second + 1)).relative_path(); !group.empty(); group = group.parent_path())
      folders.push_back(mount / group);
    folders.push_back(mount);
    return folders;
  }
  return {};
}

struct GroupLimit {
  int64_t limit = no_limit, left = no_limit;
};

// The tightest memory limit of the control groups, and the least that one of them leaves. Cached files that the system drops
// when memory is asked for do not count as used.
GroupLimit group_memory(const fs::path& root) {
  GroupLimit tightest;
  const auto visit = [&](const std::vector<fs::path>& groups, const char* limit_file, const char* used_file,
                         const char* cache) {
    for (const fs::path& group : groups) {
      const int64_t limit = number(contents(group / limit_file), no_limit);
      if (limit >= no_limit) continue;
      const int64_t used = number(contents(group / used_file)) - number(field(contents(group / "memory.stat"), cache));
      tightest.limit = std::min(tightest.limit, limit);
      tightest.left = std::min(tightest.left, std::max<int64_t>(0, limit - used));
    }
  };
  visit(control_groups(root, ""), "memory.max", "memory.current", "inactive_file");
  visit(control_groups(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
  return tightest;
}

// Processors' time that the control groups allow; 0 without a limit.
double group_quota(const fs::path& root) {
  double least = 0;
  const auto take = [&](double quota, double period) {
    if (quota > 0 && period > 0) least = least == 0 ? quota / period : std::min(least, quota / period);
  };
  for (const fs::path& group : control_groups(root, "")) {  // "150000 100000", "max 100000"
    const std::string text = contents(group / "cpu.max");
    if (const size_t blank = text.find(' '); blank != std::string::npos)
      take(double(number(text)), double(number(std::string_view(text).substr(blank))));
  }
  for (const fs::path& group : control_groups(root, "cpu"))
    take(double(number(contents(group / "cpu.cfs_quota_us"), -1)), double(number(contents(group / "cpu.cfs_period_us"))));
  return least;
}

int allowed_threads() {
  for (int most = 1024; most <= 1 << 20; most *= 2) {
    cpu_set_t* set = CPU_ALLOC(size_t(most));
    const size_t bytes = CPU_ALLOC_SIZE(size_t(most));
    const bool known = set != nullptr && sched_getaffinity(0, bytes, set) == 0;
    const int count = known ? CPU_COUNT_S(bytes, set) : 0;
    const bool too_small = !known && set != nullptr && errno == EINVAL;
    CPU_FREE(set);
    if (known) return count;
    if (!too_small) break;
  }
  return std::max(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
}

// How many processors a list "0-3,8" names.
int listed(const std::string& list) {
  int count = 0;
  for (const std::string& part : split(trimmed(list), ',')) {
    const size_t dash = part.find('-');
    const int64_t first = number(part),
                  last = dash == std::string::npos ? first : number(std::string_view(part).substr(dash + 1));
    count += int(std::clamp<int64_t>(last - first + 1, 0, 1 << 20));
  }
  return count;
}

std::vector<Cache> caches(const fs::path& root) {
  std::vector<Cache> found;
  for (int i = 0; i < 16; ++i) {
    const fs::path folder = root / "sys/devices/system/cpu/cpu0/cache" / ("index" + std::to_string(i));
    const std::string size = trimmed(contents(folder / "size"));
    if (size.empty()) break;
    const int64_t unit = size.ends_with('K') ? 1024 : size.ends_with('M') ? 1024 * 1024 : 1;
    found.push_back({int(number(contents(folder / "level"))), trimmed(contents(folder / "type")), number(size) * unit,
                     std::max(1, listed(contents(folder / "shared_cpu_list")))});
  }
  return found;
}

// What a command prints; empty when it cannot be run.
std::string output_of(const char* command) {
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return {};
  std::string text;
  char buffer[4096];
  for (size_t got = 0; text.size() < 65536 && (got = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, got);
  pclose(pipe);
  return text;
}

// The compiler of CUDA, in a folder of PATH or in its usual place.
std::string find_nvcc(const fs::path& root) {
  const char* path = std::getenv("PATH");
  std::vector<std::string> folders = split(path ? path : "", ':');
  folders.push_back("/usr/local/cuda/bin");
  for (const std::string& folder : folders)
    if (const fs::path nvcc = root / fs::path(folder).relative_path() / "nvcc"; access(nvcc.c_str(), X_OK) == 0)
      return nvcc.string();
  return {};
}

int64_t status_bytes(const char* key) { return kilobytes(contents("/proc/self/status"), key); }

}  // namespace

int Processors::usable() const {
  const int within = quota > 0 ? int(std::ceil(quota)) : allowed;
  return std::max(1, std::min(allowed, within));
}

Processors processors(const fs::path& root) {
  Processors p{.allowed = allowed_threads(), .quota = group_quota(root), .caches = caches(root)};
  const std::string cpuinfo = contents(root / "proc/cpuinfo");
  p.model = field(cpuinfo, "model name");
  std::set<std::pair<int64_t, int64_t>> cores;
  int64_t package = 0;
  for (const std::string& line : split(cpuinfo, '\n')) {
    const auto value = [&] { return number(std::string_view(line).substr(std::min(line.find(':') + 1, line.size()))); };
    if (line.starts_with("processor")) ++p.threads;
    if (line.starts_with("physical id")) package = value();
    if (line.starts_with("core id")) cores.emplace(package, value());
  }
  if (p.threads == 0) p.threads = std::max(1, int(sysconf(_SC_NPROCESSORS_ONLN)));
  p.cores = cores.empty() ? p.threads : int(cores.size());
  return p;
}

Memory memory(const fs::path& root) {
  const std::string meminfo = contents(root / "proc/meminfo");
  Memory m{.total = kilobytes(meminfo, "MemTotal:"),
           .available = kilobytes(meminfo, "MemAvailable:"),
           .huge_page = kilobytes(meminfo, "Hugepagesize:")};
  GroupLimit least = group_memory(root);
  if (rlimit space{}; getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur < rlim_t(no_limit)) {
    const int64_t limit = int64_t(space.rlim_cur), used = status_bytes("VmSize:");
    least.limit = std::min(least.limit, limit);
    least.left = std::min(least.left, std::max<int64_t>(0, limit - used));
  }
  m.limit = least.limit < m.total ? least.limit : 0;
  m.usable = std::min(m.available, least.left);
  const std::string modes = contents(root / "sys/kernel/mm/transparent_hugepage/enabled");  // "always [madvise] never"
  if (const size_t begin = modes.find('['), end = modes.find(']');
      begin != std::string::npos && end != std::string::npos && end > begin)
    m.huge_pages = modes.substr(begin + 1, end - begin - 1);
  return m;
}

GraphicsCard graphics_card(const fs::path& root) {
  GraphicsCard card{.toolkit = find_nvcc(root)};
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5 ..."
  std::istringstream words(field(contents(root / "proc/driver/nvidia/version"), "NVRM version"));
  for (std::string word; card.driver.empty() && words >> word;)
    if (std::isdigit(static_cast<unsigned char>(word[0])) && word.find('.') != std::string::npos) card.driver = word;
  if (root == "/" && !card.driver.empty())
    for (const std::string& line :
         split(output_of("timeout 5 nvidia-smi --query-gpu=name,memory.total --format=csv,noheader 2>/dev/null"), '\n'))
      if (!line.empty()) card.devices.push_back(line);
  std::error_code none;
  if (card.devices.empty())
    for (const auto& entry : fs::directory_iterator(root / "proc/driver/nvidia/gpus", none))
      card.devices.push_back(field(contents(entry.path() / "information"), "Model"));
  std::ranges::sort(card.devices);
  // Whether the driver's library is there is asked of the linker's own search, which knows every place; nothing in it is
  // called.
  if (void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    card.has_libcuda = true;
    dlclose(library);
  }
  return card;
}

int64_t resident_bytes() { return status_bytes("VmRSS:"); }

int64_t peak_resident_bytes() { return status_bytes("VmHWM:"); }

}  // namespace relume
