// What becomes of pictures that cannot be used (damaged, of an unknown format, too small): others take their place, and they
// are noted down, until there are so many that something else must be wrong.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/core/philox.h"

namespace relume {

struct BadPicture {
  int64_t index = 0;  // within its data set
  std::string name;
  std::string reason;  // may begin with the name, as messages of decoders do
};

// "name: reason", without saying the name twice.
std::string to_string(const BadPicture& picture);

// Finds usable pictures and remembers those that are not, so that each is tried once. Any thread.
class Substitutes {
 public:
  // make(index) for a data set of `size` pictures named by name(index). Where make throws InputError, other indices are drawn
  // from `key` alone and tried: the same for any number of threads and ranks, and in a run that was resumed. The bad pictures
  // met on the way are appended to `met`. Throws InputError when none can be used.
  template <class Name, class Make>
  auto usable(int64_t index, int64_t size, const RandomKey& key, Name name, Make make, std::vector<BadPicture>& met) {
    RandomStream random(key);
    for (int attempt = 0; attempt < 1000; ++attempt, index = random.below(size)) {
      if (recall(index, met)) continue;
      try {
        return make(index);
      } catch (const InputError& e) {
        met.push_back({index, name(index), e.what()});
        if (remember(met.back()) == size)
          throw InputError(detail::concat(e.what(), "\n  none of the ", size, " pictures can be used"));
      }
    }
    throw InputError(detail::concat("1000 pictures were drawn in the place of one that cannot be used, and none of them can; ",
                                    known(), " of ", size, " are known to be bad"));
  }

 private:
  bool recall(int64_t index, std::vector<BadPicture>& met) const;
  int64_t remember(const BadPicture& picture);  // gives how many are known now
  int64_t known() const;
  mutable std::mutex mutex_;
  std::map<int64_t, BadPicture> pictures_;
};

struct BadPictureOptions {
  double rate = 0.01;    // of the pictures seen, in [0, 1]; 0: the first one ends the work, with its own reason
  int64_t allowed = 10;  // so many are passed over whatever the rate, unless that is 0
};

// The account of the bad pictures that a run has met.
class BadPictures {
 public:
  explicit BadPictures(BadPictureOptions options = {}) : options_(options) {}

  // Notes a picture; one noted before is passed over silently. Throws InputError with its reason when there are now more than
  // `rate` of the `seen` pictures, and more than `allowed`.
  void note(const BadPicture& picture, int64_t seen);
  int64_t count() const { return int64_t(indices_.size()); }  // of different ones
  std::vector<BadPicture> take();                             // those noted since the last call, sorted by name

  // What a resumed run begins with: pictures noted before, not to be handed out again.
  const std::set<int64_t>& indices() const { return indices_; }
  void restore(std::set<int64_t> indices) { indices_ = std::move(indices); }

 private:
  const BadPictureOptions options_;
  std::set<int64_t> indices_;
  std::vector<BadPicture> fresh_;
};

}  // namespace relume
