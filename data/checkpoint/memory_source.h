// A TensorSource over tensors in memory.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "tensor/core/source.h"

namespace relume {

class MemorySource : public TensorSource {
 public:
  explicit MemorySource(std::string where = "memory") : where_(std::move(where)) {}
  MemorySource(std::initializer_list<std::pair<std::string, Tensor>> entries) : MemorySource() {
    for (const auto& [name, tensor] : entries) add(name, tensor);
  }

  // Keeps a handle to `tensor` under `name`; a name that is taken already is an InputError.
  void add(const std::string& name, const Tensor& tensor) {
    RELUME_CHECK(index_.emplace(name, infos_.size()).second, where_, ": the name '", name, "' was given twice");
    infos_.push_back({name, tensor.dtype(), tensor.shape()});
    tensors_.push_back(tensor);
  }

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(const std::string& name) const override {
    const auto at = index_.find(name);
    return at == index_.end() ? nullptr : &infos_[at->second];
  }
  Tensor read(const std::string& name) const override {
    const auto at = index_.find(name);
    RELUME_CHECK(at != index_.end(), where_, ": no tensor named '", name, "'");
    return tensors_[at->second];
  }
  std::string where() const override { return where_; }

 private:
  std::string where_;
  std::vector<TensorInfo> infos_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace relume
