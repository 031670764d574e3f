#include "data/dataset.h"

#include <future>
#include <list>
#include <map>
#include <mutex>
#include <utility>

#include "base/files.h"
#include "base/text.h"
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

std::vector<std::filesystem::path> read_file_list(const std::filesystem::path& list) {
  std::vector<std::filesystem::path> paths;
  int line_number = 0;
  for (std::string line : split(read_file(list), '\n')) {
    ++line_number;
    const size_t begin = line.find_first_not_of(" \t\r"), end = line.find_last_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::filesystem::path path = list.parent_path() / line.substr(begin, end - begin + 1);
    RELUME_CHECK(std::filesystem::is_regular_file(path), list.string(), ":", line_number, ": no such picture: ", path.string());
    paths.push_back(path);
  }
  return paths;
}

FolderDataset::FolderDataset(const std::filesystem::path& folder_or_list, FolderDatasetOptions options)
    : cache_(options.cache_bytes, options.limits, options.max_side) {
  const std::string name = folder_or_list.string();
  RELUME_CHECK(std::filesystem::exists(folder_or_list), name, ": no such folder or file list");
  if (std::filesystem::is_directory(folder_or_list)) {
    paths_ = list_files(folder_or_list, image_extensions(), true);
    RELUME_CHECK(!paths_.empty(), name, ": no pictures in this folder or below it (looked for ", join(image_extensions(), ", "),
                 ")");
  } else {
    paths_ = read_file_list(folder_or_list);
    RELUME_CHECK(!paths_.empty(), name, ": this list names no pictures; it needs one path per line");
  }
}

const std::filesystem::path& FolderDataset::path(int64_t index) const {
  RELUME_CHECK(index >= 0 && index < size(), "dataset: picture ", index, " asked for, but there are ", size());
  return paths_[size_t(index)];
}

Tensor FolderDataset::picture(int64_t index) { return cache_.get(path(index)); }

}  // namespace relume
