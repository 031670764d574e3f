// TensorSource: named tensors from somewhere (a safetensors file, a training state, a table in memory). What layers/ loads
// weights from, and what data/checkpoint/ makes of a file; the two meet only here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;  // as stored: conv weights [O, I, kh, kw]
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<TensorInfo>& tensors() const = 0;         // in file order
  virtual const TensorInfo* find(const std::string& name) const = 0;  // null when there is none
  virtual Tensor read(const std::string& name) const = 0;             // a CPU tensor, possibly a view of a mapped file
  virtual std::string where() const = 0;                              // for messages: the file's path
};

}  // namespace relume
