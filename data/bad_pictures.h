// What becomes of pictures that cannot be used (damaged, of an unknown format, too small): they are passed over and noted down,
// until there are so many that something else must be wrong.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/core/philox.h"

namespace relume {

struct BadPicture {
  std::string name, reason;  // the reason may begin with the name, as messages of decoders do
};

struct BadPictureOptions {
  double rate = 0.01;    // of the pictures seen, in [0, 1]; 0: the first one ends the work, with its own reason
  int64_t allowed = 10;  // so many are passed over whatever the rate, unless that is 0
};

// Any thread.
class BadPictures {
 public:
  explicit BadPictures(BadPictureOptions options = {}) : options_(options) {}

  // Notes the picture of a data set's index; one noted before is passed over silently. Throws InputError with its reason when
  // there are now more than `rate` of the `seen` pictures, and more than `allowed`.
  void note(int64_t index, const BadPicture& picture, int64_t seen);
  bool is_bad(int64_t index) const;
  int64_t count() const;           // of different ones
  std::vector<BadPicture> take();  // those noted since the last call, sorted by name

  // make(index) for a data set of `size` pictures named by name(index). Where make throws InputError the picture is noted (of
  // `size` seen) and make tried with other indices, drawn from `key` alone: the same for any number of threads and ranks, and
  // in a run that was resumed. Throws InputError when none can be used.
  template <class Name, class Make> auto usable(int64_t index, int64_t size, const RandomKey& key, Name name, Make make) {
    RandomStream random(key);
    for (int attempt = 0; attempt < 1000; ++attempt, index = random.below(size)) {
      if (is_bad(index)) continue;
      try {
        return make(index);
      } catch (const InputError& e) {
        note(index, {name(index), e.what()}, size);
        if (count() == size) throw InputError(detail::concat(e.what(), "\n  none of the ", size, " pictures can be used"));
      }
    }
    throw InputError(detail::concat("1000 pictures were drawn in the place of one that cannot be used, and none of them can; ",
                                    count(), " of ", size, " are known to be bad"));
  }

 private:
  const BadPictureOptions options_;
  mutable std::mutex mutex_;
  std::set<int64_t> indices_;
  std::vector<BadPicture> fresh_;
};

// "name: reason", without saying the name twice.
std::string to_string(const BadPicture& picture);

}  // namespace relume
