// One network of a file that holds several.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/checkpoint/listed_source.h"

namespace relume {

// The tensors of another source whose names begin with a prefix, under what is behind it.
class PartSource : public ListedSource {
 public:
  PartSource(std::shared_ptr<const TensorSource> whole, const std::string& prefix)
      : ListedSource(whole->where()), whole_(std::move(whole)) {
    for (const TensorInfo& t : whole_->tensors()) {
      if (!t.name.starts_with(prefix)) continue;
      list({t.name.substr(prefix.size()), t.dtype, t.shape});
      names_.push_back(t.name);
    }
  }

 protected:
  Tensor read_at(size_t index) const override { return whole_->read(names_[index]); }

 private:
  std::shared_ptr<const TensorSource> whole_;
  std::vector<std::string> names_;  // in the other source
};

}  // namespace relume
