#include "data/bad_pictures.h"

#include <algorithm>
#include <utility>

namespace relume {

bool Substitutes::recall(int64_t index, std::vector<BadPicture>& met) const {
  const std::lock_guard lock(mutex_);
  const auto found = pictures_.find(index);
  if (found == pictures_.end()) return false;
  met.push_back(found->second);
  return true;
}

int64_t Substitutes::remember(const BadPicture& picture) {
  const std::lock_guard lock(mutex_);
  pictures_.emplace(picture.index, picture);
  return int64_t(pictures_.size());
}

int64_t Substitutes::known() const {
  const std::lock_guard lock(mutex_);
  return int64_t(pictures_.size());
}

void BadPictures::note(const BadPicture& picture, int64_t seen) {
  if (!indices_.insert(picture.index).second) return;
  fresh_.push_back(picture);
  const int64_t bad = count();
  if (options_.rate == 0) throw InputError(to_string(picture));
  if (bad <= options_.allowed || double(bad) <= options_.rate * double(seen)) return;
  throw InputError(detail::concat(to_string(picture), "\n  ", bad, " of ", seen, " pictures cannot be used, more than the ",
                                  options_.rate * 100,
                                  " % allowed; look for the reason ('relume scan' lists them all), or allow more"));
}

std::vector<BadPicture> BadPictures::take() {
  std::vector<BadPicture> taken = std::exchange(fresh_, {});
  std::ranges::sort(taken, {}, &BadPicture::name);
  return taken;
}

std::string to_string(const BadPicture& picture) {
  return picture.reason.starts_with(picture.name) ? picture.reason : picture.name + ": " + picture.reason;
}

}  // namespace relume
