#include "train/stage1_data.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "data/convert.h"

namespace relume {

namespace {

DatasetOptions dataset_options(const Stage1DataConfig& data) {
  return {.cache_bytes = int64_t(data.cache_gb * 1e9), .max_side = data.max_side};
}

}  // namespace

Stage1Batches::Stage1Batches(const Stage1Config& config, int64_t position, const StateFile* state)
    : config_(config),
      crop_{.kind = parse_crop_kind(config.data.crop), .size = config.data.size},
      pictures_(open_dataset(config.data.pictures, dataset_options(config.data))),
      order_(uint64_t(config.seed), pictures_->size()),
      bad_({.rate = config.data.bad_pictures == "stop" ? 0 : config.data.bad_rate}) {
  if (config.data.pair_pool > 0) pool_.emplace(config.data.pair_pool);
  if (state) restore(*state);
  const LoaderOptions options{
      .batch_size = config.train.batch_size, .threads = config.data.threads, .prefetch = 4, .first_step = position};
  loader_ = std::make_unique<Loader<Sample>>(options, [this](int64_t step, int64_t index) { return sample(step, index); });
  if (config.train.steps > 0) first_ = loader_->next();
}

void Stage1Batches::save(StateContents& state) const {
  const std::set<int64_t>& bad = bad_.indices();
  state.add("data/pictures", pictures_->size());
  state.add("data/replaced", Tensor::of<int64_t>({int64_t(bad.size())}, {bad.begin(), bad.end()}));
  if (!pool_) return;
  const PairPool::Contents pool = pool_->contents();
  if (!pool.order) return;
  state.add("pool/lq", pool.lq);
  state.add("pool/gt", pool.gt);
  state.add("pool/order", pool.order);
}

void Stage1Batches::restore(const StateFile& state) {
  const int64_t before = state.integer("data/pictures");
  if (before != pictures_->size())
    fmt::print(stderr, "{} holds {} pictures, it held {} when the state was saved: their order differs from here on\n",
               config_.data.pictures, pictures_->size(), before);
  const Tensor replaced = state.tensor("data/replaced");
  RELUME_CHECK(replaced.dtype() == DType::i64, state.where(), ": 'data/replaced' is ", replaced);
  bad_.restore({replaced.data<int64_t>(), replaced.data<int64_t>() + replaced.numel()});
  if (pool_ && state.has("pool/order"))
    pool_->restore({state.tensor("pool/lq"), state.tensor("pool/gt"), state.tensor("pool/order")});
}

Tensor Stage1Batches::crop(int64_t picture, RandomKey key) {
  const Tensor whole = pictures_->picture(picture);
  key.purpose = "crop";
  RandomStream random(key);
  const CropPlan plan = plan_crop(whole.shape(0), whole.shape(1), crop_, random, pictures_->name(picture));
  const Tensor square = apply_crop(whole, crop_.size, plan);
  return config_.data.flip && random.uniform() < 0.5 ? flip_horizontal(square) : square;
}

Stage1Batches::Sample Stage1Batches::sample(int64_t position, int64_t index) {
  RandomKey key{
      .seed = uint64_t(config_.seed), .purpose = "replacement", .step = uint32_t(position), .sample = uint32_t(index)};
  Sample sample;
  const Tensor square = substitutes_.usable(
      order_.index_of(position * config_.train.batch_size + index), pictures_->size(), key,
      [this](int64_t picture) { return pictures_->name(picture); }, [&](int64_t picture) { return crop(picture, key); },
      sample.met);
  if (config_.data.shared_draws) {
    sample.pair.gt = to_float(square);
    return sample;
  }
  key.purpose = "degrade";
  SeededDraws draws(key);
  sample.pair = degrade(to_float(square), config_.degradation, draws);
  return sample;
}

Degraded Stage1Batches::degraded_together(const Tensor& clean, int64_t position) {
  RandomKey key{.seed = uint64_t(config_.seed), .purpose = "degrade", .step = uint32_t(position)};
  SeededDraws draws(key);
  const Degraded pairs = degrade(clean, config_.degradation, draws);
  if (!pool_) return pairs;
  key.purpose = "pair_pool";
  return pool_->exchange(pairs, shuffled_order(key, pool_->size()));
}

Batch Stage1Batches::next() {
  const LoadedBatch<Sample> loaded = first_ ? *std::exchange(first_, std::nullopt) : loader_->next();
  for (const Sample& sample : loaded.samples)
    for (const BadPicture& picture : sample.met) bad_.note(picture, pictures_->size());
  const auto stacked = [&](Tensor Degraded::*member) {
    const Shape& s = (loaded.samples[0].pair.*member).shape();
    const Tensor all = Tensor::empty({int64_t(loaded.samples.size()), s[0], s[1], s[2]});
    for (size_t i = 0; i < loaded.samples.size(); ++i)
      std::memcpy(all.slice(int64_t(i), int64_t(i) + 1).raw(), (loaded.samples[i].pair.*member).data<float>(),
                  size_t(s.numel()) * sizeof(float));
    return all;
  };
  if (!config_.data.shared_draws) return {stacked(&Degraded::lq), stacked(&Degraded::gt)};
  const Degraded pairs = degraded_together(stacked(&Degraded::gt), loaded.step);
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
