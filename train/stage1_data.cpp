#include "train/stage1_data.h"

#include <cstring>
#include <utility>

#include "data/convert.h"

namespace relume {

namespace {

DatasetOptions dataset_options(const Stage1DataConfig& data) {
  return {.cache_bytes = int64_t(data.cache_gb * 1e9), .max_side = data.max_side};
}

Tensor stacked(const std::vector<Degraded>& samples, Tensor Degraded::*member) {
  const Tensor& first = samples[0].*member;
  Tensor all = Tensor::empty({int64_t(samples.size()), first.shape(0), first.shape(1), first.shape(2)});
  const size_t bytes = size_t(first.numel()) * sizeof(float);
  for (size_t i = 0; i < samples.size(); ++i)
    std::memcpy(static_cast<char*>(all.raw()) + i * bytes, (samples[i].*member).data<float>(), bytes);
  return all;
}

}  // namespace

Stage1Batches::Stage1Batches(const Stage1Config& config)
    : config_(config),
      crop_{.kind = parse_crop_kind(config.data.crop), .size = config.data.size},
      pictures_(open_dataset(config.data.pictures, dataset_options(config.data))),
      order_(uint64_t(config.seed), pictures_->size()),
      bad_({.rate = config.data.bad_pictures == "stop" ? 0 : config.data.bad_rate}) {
  if (config.data.pair_pool > 0) pool_.emplace(config.data.pair_pool);
  const LoaderOptions options{
      .batch_size = config.train.batch_size, .threads = config.data.threads, .prefetch = 4, .end_step = config.train.steps};
  loader_ = std::make_unique<Loader<Degraded>>(options, [this](int64_t step, int64_t index) { return sample(step, index); });
  if (config.train.steps > 0) first_ = loader_->next();
}

Tensor Stage1Batches::crop(int64_t picture, RandomKey key) {
  const Tensor whole = pictures_->picture(picture);
  key.purpose = "crop";
  RandomStream random(key);
  const CropPlan plan = plan_crop(whole.shape(0), whole.shape(1), crop_, random, pictures_->name(picture));
  const Tensor square = apply_crop(whole, crop_.size, plan);
  return config_.data.flip && random.uniform() < 0.5 ? flip_horizontal(square) : square;
}

Degraded Stage1Batches::sample(int64_t step, int64_t index) {
  RandomKey key{.seed = uint64_t(config_.seed), .purpose = "replacement", .step = uint32_t(step), .sample = uint32_t(index)};
  const Tensor square = bad_.usable(
      order_.index_of(step * config_.train.batch_size + index), pictures_->size(), key,
      [this](int64_t picture) { return pictures_->name(picture); }, [&](int64_t picture) { return crop(picture, key); });
  if (config_.data.shared_draws) return {.lq = {}, .gt = to_float(square)};
  key.purpose = "degrade";
  SeededDraws draws(key);
  return degrade(to_float(square), config_.degradation, draws);
}

Degraded Stage1Batches::degraded_together(const Tensor& clean, int64_t step) {
  RandomKey key{.seed = uint64_t(config_.seed), .purpose = "degrade", .step = uint32_t(step)};
  SeededDraws draws(key);
  const Degraded pairs = degrade(clean, config_.degradation, draws);
  if (!pool_) return pairs;
  key.purpose = "pair_pool";
  return pool_->exchange(pairs, shuffled_order(key, pool_->size()));
}

Batch Stage1Batches::next() {
  const LoadedBatch<Degraded> loaded = first_ ? *std::exchange(first_, std::nullopt) : loader_->next();
  if (!config_.data.shared_draws) return {stacked(loaded.samples, &Degraded::lq), stacked(loaded.samples, &Degraded::gt)};
  const Degraded pairs = degraded_together(stacked(loaded.samples, &Degraded::gt), loaded.step);
  return {pairs.lq, pairs.gt};
}

std::vector<Degraded> validation_pairs(const Stage1Config& config) {
  std::vector<Degraded> pairs;
  if (config.data.validation.empty()) return pairs;
  const auto pictures = open_dataset(config.data.validation, dataset_options(config.data));
  const int multiple = config.model.unshuffle ? config.model.sf * config.model.window_size : config.model.outer_unshuffle;
  constexpr int64_t largest = 512;
  for (int64_t i = 0; i < pictures->size(); ++i) {
    const Tensor whole = pictures->picture(i);
    const int64_t height = std::min(whole.shape(0), largest) / multiple * multiple;
    const int64_t width = std::min(whole.shape(1), largest) / multiple * multiple;
    RELUME_CHECK(height > 0 && width > 0, pictures->name(i), ": ", whole.shape(1), " x ", whole.shape(0),
                 " pixels are too few to validate on; this network needs ", multiple, " x ", multiple);
    const Tensor middle = cut(whole, (whole.shape(0) - height) / 2, (whole.shape(1) - width) / 2, height, width);
    SeededDraws draws({.seed = uint64_t(config.seed), .purpose = "validation", .sample = uint32_t(i)});
    pairs.push_back(degrade(to_float(middle), config.degradation, draws));
  }
  return pairs;
}

}  // namespace relume
