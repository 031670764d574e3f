#include "data/loader.h"

#include <numeric>

namespace relume {

std::vector<uint32_t> shuffled_order(const RandomKey& key, int64_t n) {
  RELUME_CHECK(n >= 0 && n <= std::numeric_limits<uint32_t>::max(), "shuffled_order: cannot order ", n, " samples");
  std::vector<uint32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0u);
  RandomStream random(key);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[size_t(i)], order[size_t(random.below(i + 1))]);
  return order;
}

std::vector<uint32_t> epoch_order(uint64_t seed, int64_t epoch, int64_t n) {
  RELUME_CHECK(epoch >= 0 && epoch <= std::numeric_limits<uint32_t>::max(), "epoch_order: there is no epoch ", epoch);
  return shuffled_order({.seed = seed, .purpose = "epoch_order", .step = uint32_t(epoch)}, n);
}

SampleOrder::SampleOrder(uint64_t seed, int64_t dataset_size) : seed_(seed), size_(dataset_size) {
  RELUME_CHECK(dataset_size >= 1, "sample order: the dataset is empty");
}

int64_t SampleOrder::index_of(int64_t sample) {
  RELUME_CHECK(sample >= 0, "sample order: there is no sample ", sample);
  const int64_t epoch = epoch_of(sample);
  const std::lock_guard lock(mutex_);
  auto found = epochs_.find(epoch);
  if (found == epochs_.end()) {
    found = epochs_.emplace(epoch, epoch_order(seed_, epoch, size_)).first;
    // Prefetching straddles two epochs at most unless the dataset is tiny, and then an order costs nothing to make again.
    while (epochs_.size() > 2) epochs_.erase(epochs_.begin()->first == epoch ? std::prev(epochs_.end()) : epochs_.begin());
  }
  return found->second[size_t(sample % size_)];
}

}  // namespace relume
