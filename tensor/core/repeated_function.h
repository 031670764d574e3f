// A function that is called again and again, mostly with tensors of the same shapes.
#pragma once

#include <functional>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

// The slot kernels::repeated makes one of what computes on a device. For one thread.
class RepeatedFunction {
 public:
  using Function = std::function<Tensor(const std::vector<Tensor>&)>;
  virtual ~RepeatedFunction() = default;

  // The function of tensors of the CPU or of the device, at least one; the result lies where the first of them does.
  virtual Tensor operator()(const std::vector<Tensor>& inputs) = 0;
};

}  // namespace relume
