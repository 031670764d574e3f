// What a training tells about itself: log.jsonl for programs, a TensorBoard event file for people. Both are continued exactly
// where a state left them, so that a resumed run's logs are those of an uninterrupted one; only fields that hold times differ.
#pragma once

#include <string>
#include <vector>

#include "base/json_log.h"
#include "tensor/core/tensor.h"
#include "train/event_file.h"

namespace relume {

struct LogPosition {
  int64_t lines = 0;   // of log.jsonl
  int64_t events = 0;  // bytes of the event file
};

// A number with the name it has in both logs.
struct Score {
  std::string name;  // "psnr"
  double value = 0;
};

// Fields of log.jsonl that hold times or depend on them: all else is the same in two runs of one configuration.
inline const std::vector<std::string> time_fields{"seconds", "images_per_second", "wait_seconds"};

class RunLog {
 public:
  // log.jsonl and events.out.tfevents.relume in `folder`, each cut back to its position.
  RunLog(const std::filesystem::path& folder, const LogPosition& position);

  // A line {"step": .., "loss": ..} and scalars "train/loss"; for other sections {"step": .., "validation_psnr": ..} and
  // "validation/psnr".
  void scores(int64_t step, const std::string& section, const std::vector<Score>& values);
  void note(const nlohmann::ordered_json& line) { lines_.write(line); }
  // f32 [N, H, W, 3] in about [0, 1] as one picture, four in a row, under "section/name".
  void pictures(int64_t step, const std::string& tag, const Tensor& pictures);

  LogPosition position() { return {lines_.lines(), events_.file().size()}; }
  std::vector<AppendFile*> files() { return {&lines_.file(), &events_.file()}; }

 private:
  JsonLog lines_;
  EventFile events_;
};

}  // namespace relume
