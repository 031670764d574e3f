// Stage two as a whole: from a picture that stage one cleaned to the restored one (spec/diffbir.md 5.3).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "infer/load_control_ldm.h"
#include "infer/stage_two_config.h"

namespace relume {

struct PromptPair {
  std::string positive, negative;
};

// What is told of a course as it goes.
struct RefineWatch {
  std::function<void(int64_t step, int64_t steps)> progress;  // steps done, after each estimate; may throw to end the course
  // The picture that is expected after each `every`-th step and the last, f32 [1, H, W, 3] in [0, 1], not clamped.
  std::function<void(int64_t step, const Tensor& picture)> estimate;
  int64_t every = 0;                                     // 0: none
  std::function<void(const Tensor& picture)> condition;  // what the latent of the condition decodes to; empty: not decoded
};

class Refiner {
 public:
  // Reads the text encoder, encodes all prompts that will be asked for, lets it go, and reads the other networks. `merges` is
  // the tokenizer's file, needed where a prompt is not empty. InputError for what does not fit.
  Refiner(const StageTwoConfig& config, const ControlLdmSource& source, const std::vector<PromptPair>& prompts,
          const std::filesystem::path& merges, Device device = {}, DType compute = DType::f32);

  // A cleaned picture f32 [H, W, 3], about [0, 1], to the restored one of that size, about [0, 1], not clamped, both on the
  // CPU. All noise follows from the seed and the sample's number. InputError for a picture below one tile, or a prompt that
  // was not named before. Where 16 bits overflow, the picture is computed again in f32, from parameters as they
  // are kept, and standard error says so; where f32
  // does, an error names the step. Both name the layer whose result was the first without numbers.
  Tensor operator()(const Tensor& cleaned, const PromptPair& prompt, uint64_t seed, uint32_t sample,
                    const RefineWatch& watch = {}) const;

  void set_denoiser_tiles(const DenoiserTiles& tiles);                  // in place of the configuration's
  const std::vector<std::string>& notices() const { return notices_; }  // for the user: prompts that were cut

 private:
  void encode_prompts(const ControlLdmSource& source, const std::vector<PromptPair>& prompts,
                      const std::filesystem::path& merges, Device device, DType compute);
  TextCondition texts_of(const PromptPair& prompt) const;
  std::string failing_layer(const Tensor& picture, const PromptPair& prompt, uint64_t seed, uint32_t sample) const;
  Tensor refined(const Tensor& picture, const PromptPair& prompt, uint64_t seed, uint32_t sample,
                 const RefineWatch& watch) const;
  using Shown = std::function<Tensor(const Tensor& latents)>;  // what latents decode to, in the picture's size
  X0Hook hook_of(const Tensor& picture, Shown shown, uint64_t seed, uint32_t sample, const RefineWatch& watch) const;
  X0Hook guidance_of(const Tensor& picture, uint64_t seed, uint32_t sample) const;
  Tensor colours_fixed(const Tensor& picture, const Tensor& cleaned) const;

  StageTwoConfig config_;
  DType compute_;
  std::unique_ptr<ControlLdm> networks_;
  std::unique_ptr<StageTwo> stage_;
  std::map<std::string, Tensor> states_;  // of each text, [1, context_length, context_dim]
  std::vector<std::string> notices_;
};

}  // namespace relume
