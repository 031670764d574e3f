// Stage two of a run over files: its networks, the prompt and the seed of each picture, and the pictures of its stages.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/picture_jobs.h"
#include "infer/prompts.h"
#include "infer/refine_cost.h"
#include "infer/refiner.h"

namespace relume {

struct StageTwoRun {
  StageTwoConfig config;
  ControlLdmFiles files;
  std::filesystem::path merges;       // of the tokenizer; needed where a prompt is not empty
  Prompts prompts;                    // of the pictures; config.pos_prompt follows them
  uint64_t seed = 231;                // of every picture: a result depends on no other picture
  int64_t samples = 1;                // results of one picture
  std::filesystem::path save_stages;  // folder for what is made on the way; empty: none
  int64_t save_every = 0;             // estimates after so many steps, and the last; 0: none
};

class RefineRun {
 public:
  // Opens the files and looks what they hold. `run` must live as long.
  explicit RefineRun(const StageTwoRun& run);

  std::shared_ptr<const TensorSource> cleaner() const;  // of the prior's file; InputError when it holds none
  // Looks up the prompts of all pictures that will be asked for and reads the networks. Says on standard error which prompts
  // were cut or are missing, and what of the files is not used.
  void load(const std::vector<PictureJob>& jobs, Device device, DType compute);
  // What follows stage one for a picture, f32 [H, W, 3] to the same. The progress hears of each step.
  Tensor restored(const PictureJob& job, const Tensor& cleaned, const DenoiserTiles& tiles,
                  const std::function<void(int64_t step, int64_t steps)>& progress) const;

  RefineCost measure(Device device, DType compute) const { return measure_refine_cost(run_.config, device, compute); }
  // Of the networks that stay in memory.
  int64_t weight_bytes(Device device, DType compute) const {
    return source_.kept_bytes(device == Device{} ? DType::f32 : compute);
  }
  const StageTwoConfig& config() const { return run_.config; }
  std::string describe() const;
  nlohmann::ordered_json settings() const;                        // of the run
  nlohmann::ordered_json facts(const PictureJob& picture) const;  // of one result

 private:
  PromptPair whole_prompt(const std::optional<Prompts::Entry>& own) const;
  void save_stage(const PictureJob& job, const std::string& stage, const Tensor& picture) const;

  const StageTwoRun& run_;
  ControlLdmSource source_;
  std::map<std::string, PromptPair> prompts_;  // by the picture's name
  std::unique_ptr<Refiner> refiner_;
};

}  // namespace relume
