// The course of a training, whatever its network: steps, schedule, average, logs, validation, states to resume from, steps that
// go wrong. A network brings a TrainingTask; what is learnt here about resuming, logging and saving is learnt for all of them.
//
// An interrupted run that is resumed continues exactly: weights, optimiser, average, logs and files are those of a run that was
// never interrupted, byte for byte, but for the fields that hold times (run_log.h).
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "data/bad_pictures.h"
#include "layers/module.h"
#include "train/run_log.h"
#include "train/state_file.h"
#include "train/training_config.h"

namespace relume {

// The loss of a part of a batch.
struct PartLoss {
  Tensor sum;            // a scalar where the network is: the trainer reads it at the end of the step, nobody else waits for it
  int64_t elements = 1;  // sum / elements is the part's share of the loss that is logged
};

// What a network's training consists of. Everything random in it depends on (seed, position, sample) alone (design D5); the
// position counts batches from 0 and equals the step unless a training went back to an earlier state.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  virtual std::string kind() const = 0;         // "stage1": states of other kinds are refused
  virtual std::string config_yaml() const = 0;  // resolved, with help
  virtual Module& network() = 0;                // initialised

  // Compares the configuration of a saved state with this one's. Throws InputError, naming the keys, when the run cannot go on
  // under it; gives the differences it can go on with.
  virtual std::vector<Difference> changes_since(const std::string& saved_yaml) const = 0;
  // Makes the batches from `position` on; `state` is null for a new run. Throws for data nothing can be learnt from.
  virtual void begin(int64_t position, const StateFile* state) = 0;
  virtual void save(StateContents& state) const = 0;  // what begin() reads beyond weights and progress

  // Waits for the next batch; gives the pictures that others took the place of.
  virtual std::vector<BadPicture> next_batch() = 0;
  virtual double last_wait_seconds() const = 0;
  // Adds the gradients of part `part` of `parts` of the batch.
  virtual PartLoss add_gradients(int64_t position, int64_t part, int64_t parts) = 0;
  virtual NamedTensors batch() const = 0;  // the current one, to be looked at where something went wrong

  virtual std::vector<Score> validate() = 0;                           // none without held-out pictures
  virtual std::vector<std::pair<std::string, Tensor>> pictures() = 0;  // for TensorBoard: name, f32 [N, H, W, 3]
  virtual void save_weights(const std::filesystem::path& path, int64_t step, bool averaged) const = 0;
};

struct TrainerOptions {
  std::filesystem::path output;
  bool overwrite = false;       // replace an earlier training in `output`
  std::string resume = "none";  // none; auto: from the newest whole state of `output`, or anew without one; or a state file
};

struct TrainingResult {
  int64_t steps = 0;
  bool finished = true;                          // false: the time limit came first, the state is saved
  double seconds = 0;                            // resumed runs together
  std::filesystem::path weights;                 // output/final.safetensors
  std::vector<std::pair<int64_t, double>> loss;  // mean over log_every steps; of this run alone, as the following
  std::map<std::string, std::vector<std::pair<int64_t, double>>> validation;  // by name of the score
};

// Writes into `output`: config.yaml (resolved), log.jsonl, events.out.tfevents.relume, states/<step>.h5 with manifests,
// checkpoints/<step>.safetensors, final.safetensors. On an interrupt the state is saved before Interrupted is thrown; also when
// the data turn out to be unusable. Where steps keep failing the last batch is saved as bad_batch.safetensors.
TrainingResult run_training(TrainingTask& task, const TrainingConfig& config, const TrainerOptions& options);

}  // namespace relume
