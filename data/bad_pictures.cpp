#include "data/bad_pictures.h"

#include <algorithm>
#include <utility>

namespace relume {

void BadPictures::note(int64_t index, const BadPicture& picture, int64_t seen) {
  const std::lock_guard lock(mutex_);
  if (!indices_.insert(index).second) return;
  fresh_.push_back(picture);
  const int64_t bad = int64_t(indices_.size());
  if (options_.rate == 0) throw InputError(to_string(picture));
  if (bad <= options_.allowed || double(bad) <= options_.rate * double(seen)) return;
  throw InputError(detail::concat(to_string(picture), "\n  ", bad, " of ", seen, " pictures cannot be used, more than the ",
                                  options_.rate * 100,
                                  " % allowed; look for the reason ('relume scan' lists them all), or allow more"));
}

bool BadPictures::is_bad(int64_t index) const {
  const std::lock_guard lock(mutex_);
  return indices_.contains(index);
}

int64_t BadPictures::count() const {
  const std::lock_guard lock(mutex_);
  return int64_t(indices_.size());
}

std::vector<BadPicture> BadPictures::take() {
  std::vector<BadPicture> taken;
  {
    const std::lock_guard lock(mutex_);
    taken = std::exchange(fresh_, {});
  }
  std::ranges::sort(taken, {}, &BadPicture::name);
  return taken;
}

std::string to_string(const BadPicture& picture) {
  return picture.reason.starts_with(picture.name) ? picture.reason : picture.name + ": " + picture.reason;
}

}  // namespace relume
