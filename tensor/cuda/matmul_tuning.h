// Which of cuBLASLt's algorithms is the fastest for a product: found by timing, kept on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace relume::cuda {

struct MatmulTuning {
  int candidates = 0;  // algorithms timed at the first use of a kind of product; 0: the library's first choice, untimed
  std::filesystem::path folder;  // of the files that keep the results
};
// relume/ in the user's cache folder (XDG_CACHE_HOME, else ~/.cache); empty where there is neither.
std::filesystem::path default_tuning_folder();

// Holds for all products from here on. Off by default: which algorithm wins may differ from machine to machine and from time to
// time, and with it the last bits of a result. Where results are kept the bits are always the same.
void set_matmul_tuning(const MatmulTuning& tuning);
MatmulTuning matmul_tuning();
int64_t matmul_tunings_set();  // how often it was set: what was chosen under another one does not hold

// Results for one device, library version and type, in one JSON file. A file that cannot be read or is not of this form is
// passed over with a note, and replaced when there is something to keep.
class TunedAlgorithms {
 public:
  explicit TunedAlgorithms(std::filesystem::path file);

  // The bytes of the algorithm kept for the problem of this description, if any.
  std::optional<std::string> find(const std::string& problem) const;
  // Writes the file whole or not at all; where that fails, says so once and goes on.
  void keep(const std::string& problem, const std::string& algorithm);

 private:
  std::filesystem::path file_;
  std::map<std::string, std::string> algorithms_;
  bool writable_ = true;
};

}  // namespace relume::cuda
