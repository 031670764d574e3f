// The states of one training: a folder of state files, each with a small manifest that is written last and says how the file
// must look. A file without its manifest, or one that does not look as its manifest says, does not count.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/state_file.h"

namespace relume {

struct SavedState {
  int64_t step = 0;
  double seconds = 0;  // that the training had taken
  std::filesystem::path file;
};

class StateFolder {
 public:
  explicit StateFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Saves 0000123.h5, then 0000123.json, then removes all but the newest `keep` states. Throws as write_state() does.
  SavedState save(int64_t step, double seconds, const StateContents& contents, int keep) const;

  // The newest whole state of at most step `limit`; one that is torn, truncated or altered is passed over with a reason.
  struct Found {
    std::optional<SavedState> state;
    std::vector<std::string> passed_over;  // "file: reason", newest first
  };
  Found newest(int64_t limit = INT64_MAX) const;

  bool any() const;                            // whether a state was ever finished here, damaged since or not
  void remove_newer_than(int64_t step) const;  // states of a course that was given up
  void keep_newest(int count) const;           // removes the others, which a process that was killed may have left
  void tidy() const;                           // removes what killed processes left: parts of files, files without a manifest
  const std::filesystem::path& folder() const { return folder_; }

 private:
  struct Entry {
    int64_t step;
    std::filesystem::path manifest;
  };
  std::vector<Entry> entries() const;  // by their names alone, newest first
  SavedState checked(const Entry& entry) const;
  void remove(const Entry& entry) const;
  std::filesystem::path folder_;
};

// A single state file named by its user, checked against its manifest. Throws InputError saying what is wrong with it.
SavedState open_state(const std::filesystem::path& file);

}  // namespace relume
