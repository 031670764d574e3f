// What every TensorSource of this folder has in common: a list of tensors, found by name.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tensor/core/source.h"

namespace relume {

class ListedSource : public TensorSource {
 public:
  explicit ListedSource(std::string where) : where_(std::move(where)) {}

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(const std::string& name) const override {
    const auto at = index_.find(name);
    return at == index_.end() ? nullptr : &infos_[at->second];
  }
  // InputError with the nearest name when there is none.
  Tensor read(const std::string& name) const override {
    const auto at = index_.find(name);
    if (at != index_.end()) return read_at(at->second);
    std::vector<std::string> names;
    for (const TensorInfo& i : infos_) names.push_back(i.name);
    throw InputError(where_ + ": no tensor named '" + printable(name) + "'" + did_you_mean(name, names));
  }
  std::string where() const override { return where_; }

 protected:
  virtual Tensor read_at(size_t index) const = 0;  // the tensor of tensors()[index]
  // Lists one more; a name that is taken already is an InputError.
  void list(TensorInfo info) {
    RELUME_CHECK(index_.emplace(info.name, infos_.size()).second, where_, ": the name '", printable(info.name),
                 "' was given twice");
    infos_.push_back(std::move(info));
  }

 private:
  std::string where_;
  std::vector<TensorInfo> infos_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace relume
