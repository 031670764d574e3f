#include "infer/refine_run.h"

#include <fmt/format.h>

#include "base/files.h"
#include "base/text.h"
#include "data/convert.h"
#include "data/image.h"

namespace relume {
namespace {

using Json = nlohmann::ordered_json;

Tensor pixels_of(const Tensor& picture) {
  const size_t rank = size_t(picture.shape().rank());
  const int64_t height = picture.shape(int(rank) - 3), width = picture.shape(int(rank) - 2);
  return to_u8_truncated(picture.reshape({height, width, picture.shape(-1)}));
}

}  // namespace

RefineRun::RefineRun(const StageTwoRun& run) : run_(run), source_(run.files) {}

std::shared_ptr<const TensorSource> RefineRun::cleaner() const {
  auto tensors = source_.cleaner();
  RELUME_CHECK(tensors, run_.files.prior.string(),
               ": holds no network of stage one; name its file with --checkpoint, or give --cleaner none to take pictures as "
               "they are");
  return tensors;
}

PromptPair RefineRun::whole_prompt(const std::optional<Prompts::Entry>& own) const {
  std::vector<std::string> parts;
  if (own && !own->positive.empty()) parts.push_back(own->positive);
  if (!run_.config.pos_prompt.empty()) parts.push_back(run_.config.pos_prompt);
  return {join(parts, ", "), own && own->negative ? *own->negative : run_.config.neg_prompt};
}

void RefineRun::load(const std::vector<PictureJob>& jobs, Device device, DType compute) {
  std::vector<PromptPair> prompts;
  int64_t missing = 0;
  for (const PictureJob& job : jobs) {
    if (prompts_.contains(job.name)) continue;
    const std::optional<Prompts::Entry> own = run_.prompts.find(job.name);
    missing += !own;
    prompts.push_back(prompts_[job.name] = whole_prompt(own));
  }
  if (missing > 0) fmt::print(stderr, "note: {} of the pictures have no prompt of their own\n", missing);
  for (const std::string& line : source_.left()) fmt::print(stderr, "not used: {}\n", line);
  refiner_ = std::make_unique<Refiner>(run_.config, source_, prompts, run_.merges, device, compute);
  for (const std::string& notice : refiner_->notices()) fmt::print(stderr, "note: {}\n", notice);
}

void RefineRun::save_stage(const PictureJob& job, const std::string& stage, const Tensor& picture) const {
  const std::filesystem::path name =
      std::filesystem::path(job.name).parent_path() / (job.to.stem().string() + "_" + stage + ".png");
  const std::filesystem::path to = run_.save_stages / name;
  make_folder(to.parent_path());
  write_png(to, pixels_of(picture));
}

Tensor RefineRun::restored(const PictureJob& job, const Tensor& cleaned, const DenoiserTiles& tiles,
                           const std::function<void(int64_t step, int64_t steps)>& progress) const {
  refiner_->set_denoiser_tiles(tiles);
  RefineWatch watch{.progress = progress};
  if (!run_.save_stages.empty()) {
    save_stage(job, "cleaned", cleaned);
    watch.condition = [&](const Tensor& picture) { save_stage(job, "condition", picture); };
    watch.every = run_.save_every;
    watch.estimate = [&](int64_t step, const Tensor& picture) { save_stage(job, fmt::format("step{:04}", step), picture); };
  }
  return (*refiner_)(cleaned, prompts_.at(job.name), run_.seed, uint32_t(job.sample), watch);
}

std::string RefineRun::describe() const {
  const StageTwoConfig& c = run_.config;
  return fmt::format("{} steps of {}, guidance {:g}, seed {}{}, from {}{}", c.steps, c.sampler, c.cfg_scale, run_.seed,
                     run_.samples > 1 ? fmt::format(", {} results each", run_.samples) : "",
                     run_.files.prior.filename().string(),
                     run_.files.control.empty() ? "" : " and " + run_.files.control.filename().string());
}

Json RefineRun::settings() const {
  return {{"prior", run_.files.prior.string()},
          {"control", run_.files.control.string()},
          {"seed", run_.seed},
          {"samples", run_.samples},
          {"config", to_yaml(run_.config)}};
}

Json RefineRun::facts(const PictureJob& job) const {
  const PromptPair& prompt = prompts_.at(job.name);
  return {{"seed", run_.seed}, {"sample", job.sample}, {"prompt", prompt.positive}, {"neg_prompt", prompt.negative}};
}

}  // namespace relume
