// A TensorSource over tensors in memory.
#pragma once

#include <initializer_list>

#include "data/checkpoint/listed_source.h"

namespace relume {

class MemorySource : public ListedSource {
 public:
  explicit MemorySource(std::string where = "memory") : ListedSource(std::move(where)) {}
  MemorySource(std::initializer_list<std::pair<std::string, Tensor>> entries) : MemorySource() {
    for (const auto& [name, tensor] : entries) add(name, tensor);
  }

  // Keeps a handle to `tensor` under `name`; a name that is taken already is an InputError.
  void add(const std::string& name, const Tensor& tensor) {
    list({name, tensor.dtype(), tensor.shape()});
    tensors_.push_back(tensor);
  }

 protected:
  Tensor read_at(size_t index) const override { return tensors_[index]; }

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace relume
