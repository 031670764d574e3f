// Some networks of a file that holds several.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/checkpoint/listed_source.h"

namespace relume {

class PartSource : public ListedSource {
 public:
  // The tensors of another source whose names begin with a prefix, under what is behind it.
  PartSource(std::shared_ptr<const TensorSource> whole, const std::string& prefix) : PartSource(std::move(whole)) {
    for (const TensorInfo& t : whole_->tensors())
      if (t.name.starts_with(prefix)) take(t, prefix.size());
  }
  // Those whose names begin with one of several, under their whole names.
  PartSource(std::shared_ptr<const TensorSource> whole, const std::vector<std::string>& prefixes)
      : PartSource(std::move(whole)) {
    for (const TensorInfo& t : whole_->tensors())
      if (std::ranges::any_of(prefixes, [&](const std::string& prefix) { return t.name.starts_with(prefix); })) take(t, 0);
  }

 protected:
  Tensor read_at(size_t index) const override { return whole_->read(names_[index]); }

 private:
  explicit PartSource(std::shared_ptr<const TensorSource> whole) : ListedSource(whole->where()), whole_(std::move(whole)) {}
  void take(const TensorInfo& t, size_t begin) {
    list({t.name.substr(begin), t.dtype, t.shape});
    names_.push_back(t.name);
  }

  std::shared_ptr<const TensorSource> whole_;
  std::vector<std::string> names_;  // in the other source
};

}  // namespace relume
