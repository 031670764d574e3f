#include "data/dataset.h"

#include <future>
#include <list>
#include <map>
#include <mutex>
#include <utility>

#include "data/crop.h"

namespace relume {

struct PictureCache::State {
  using Paths = std::list<std::filesystem::path>;
  struct Entry {
    std::shared_future<Tensor> picture;
    int64_t bytes = 0;  // 0 while it is being decoded
    Paths::iterator place;
  };

  // Forgets the least recently used pictures; one still being decoded weighs nothing and stays.
  void shrink() {
    for (auto oldest = recent.end(); held > limit_bytes && oldest != recent.begin();) {
      --oldest;
      const auto found = entries.find(*oldest);
      if (found->second.bytes == 0) continue;
      held -= found->second.bytes;
      entries.erase(found);
      oldest = recent.erase(oldest);
    }
  }

  int64_t limit_bytes;
  ImageLimits limits;
  int64_t max_side;
  mutable std::mutex mutex;
  Paths recent;  // most recently used first
  std::map<std::filesystem::path, Entry> entries;
  int64_t held = 0, decoded = 0;
};

PictureCache::PictureCache(int64_t bytes, ImageLimits limits, int64_t max_side)
    : state_(new State{.limit_bytes = bytes, .limits = limits, .max_side = max_side}) {}
PictureCache::~PictureCache() = default;

Tensor PictureCache::get(const std::filesystem::path& path) {
  State& s = *state_;
  std::promise<Tensor> promise;
  {
    std::unique_lock lock(s.mutex);
    if (const auto found = s.entries.find(path); found != s.entries.end()) {
      s.recent.splice(s.recent.begin(), s.recent, found->second.place);
      const std::shared_future<Tensor> picture = found->second.picture;
      lock.unlock();
      return picture.get();
    }
    s.recent.push_front(path);
    s.entries[path] = {promise.get_future().share(), 0, s.recent.begin()};
  }
  // Decoding happens outside of the lock; whoever asks meanwhile waits for the promise.
  Tensor picture;
  try {
    picture = reduced_to_side(read_image(path, s.limits), s.max_side);
  } catch (...) {
    promise.set_exception(std::current_exception());
    const std::lock_guard lock(s.mutex);
    s.recent.erase(s.entries.at(path).place);
    s.entries.erase(path);
    throw;
  }
  promise.set_value(picture);
  const std::lock_guard lock(s.mutex);
  s.entries.at(path).bytes = picture.numel();
  s.held += picture.numel();
  ++s.decoded;
  s.shrink();
  return picture;
}

int64_t PictureCache::bytes_held() const {
  const std::lock_guard lock(state_->mutex);
  return state_->held;
}

int64_t PictureCache::decoded() const {
  const std::lock_guard lock(state_->mutex);
  return state_->decoded;
}

FileDataset::FileDataset(const std::filesystem::path& source, const DatasetOptions& options)
    : entries_(list_pictures(source)), cache_(options.cache_bytes, options.limits, options.max_side) {
  for (const ListEntry& e : entries_) {
    std::error_code error;
    RELUME_CHECK(std::filesystem::is_regular_file(e.path, error), source.string(), ":", e.line,
                 ": no such picture: ", e.path.string());
  }
}

const ListEntry& FileDataset::entry(int64_t index) const {
  RELUME_CHECK(index >= 0 && index < size(), "dataset: picture ", index, " asked for, but there are ", size());
  return entries_[size_t(index)];
}

Captions FileDataset::captions(int64_t index) const {
  const ListEntry& e = entry(index);
  return e.captions ? *e.captions : captions_beside(e.path);
}

PackDataset::PackDataset(const std::filesystem::path& path, const DatasetOptions& options)
    : pack_(path), max_side_(options.max_side) {
  RELUME_CHECK(pack_.size() > 0, path.string(), ": holds no picture");
}

Tensor PackDataset::picture(int64_t index) { return reduced_to_side(pack_.picture(index), max_side_); }

std::unique_ptr<PictureDataset> open_dataset(const std::filesystem::path& source, const DatasetOptions& options) {
  std::error_code error;
  if (is_pack_name(source) && !std::filesystem::is_directory(source, error))
    return std::make_unique<PackDataset>(source, options);
  return std::make_unique<FileDataset>(source, options);
}

}  // namespace relume
