// Saves states in the background: training goes on from a snapshot while the one before it is written.
#pragma once

#include <future>
#include <vector>

#include "base/append_file.h"
#include "train/state_folder.h"

namespace relume {

class StateSaver {
 public:
  // `logs` are flushed to disk before a state that records their lengths counts; they outlive the saver.
  StateSaver(StateFolder folder, int keep, std::vector<AppendFile*> logs)
      : folder_(std::move(folder)), keep_(keep), logs_(std::move(logs)) {}
  ~StateSaver();  // waits; a failure nobody asked for is lost
  StateSaver(const StateSaver&) = delete;
  StateSaver& operator=(const StateSaver&) = delete;

  // Takes the contents, whose tensors nobody may write to any more, and returns; waits first while an earlier state is being
  // written. Throws the Error of that earlier one, if it could not be saved.
  void save(int64_t step, double seconds, StateContents contents);
  // Until everything is on disk. Throws the Error of a state that could not be saved.
  void wait();

 private:
  StateFolder folder_;
  int keep_;
  std::vector<AppendFile*> logs_;
  std::future<void> pending_;
};

}  // namespace relume
