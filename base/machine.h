// What this machine offers to this process: processors, caches, memory, a graphics card. Limits of containers (control groups),
// affinity and ulimit are respected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace relume {

struct Cache {
  int level = 0;
  std::string kind;   // "Data", "Instruction", "Unified"
  int64_t bytes = 0;  // of one
  int shared_by = 1;  // processors
};

struct Processors {
  std::string model;          // "AMD EPYC 7B13"; empty when the system does not tell
  int cores = 0;              // of the machine; as many as threads where the system does not tell
  int threads = 0;            // of the machine that are online
  int allowed = 0;            // threads that this process may run on (affinity)
  double quota = 0;           // processors' time that its control group may use, 1.5 for one and a half; 0: no limit
  std::vector<Cache> caches;  // of the first processor
  int usable() const;         // threads worth starting: allowed ones within the quota, at least 1
};

struct Memory {
  int64_t total = 0, available = 0;  // bytes of the machine
  int64_t limit = 0;                 // what the control groups and ulimit allow this process; 0: no limit below the total
  int64_t usable = 0;                // what this process can still take: the least of what is available and what limits leave
  int64_t huge_page = 0;             // bytes
  std::string huge_pages;            // "always", "madvise" (who asks: we do not, docs/performance.md), "never"; empty: unknown
};

struct GraphicsCard {
  std::vector<std::string> devices;  // "NVIDIA H100, 80 GB" of nvidia-smi, or of the driver's files; empty: none found
  std::string driver;                // version; empty: none
  bool has_libcuda = false;          // the driver's library can be found
  std::string toolkit;               // path of nvcc; empty: none
};

// Read from the system's files below `root`, which is "/" but for tests; affinity and ulimit are always this process's.
Processors processors(const std::filesystem::path& root = "/");
Memory memory(const std::filesystem::path& root = "/");
GraphicsCard graphics_card(const std::filesystem::path& root = "/");

// Bytes of this process in memory: now, and at most so far. 0 where the system does not tell.
int64_t resident_bytes();
int64_t peak_resident_bytes();

}  // namespace relume
