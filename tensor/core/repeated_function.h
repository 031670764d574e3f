// A function that is called again and again, mostly with tensors of one shape.
#pragma once

#include <functional>

#include "tensor/core/tensor.h"

namespace relume {

// The slot kernels::repeated makes one of what computes on a device. For one thread.
class RepeatedFunction {
 public:
  using Function = std::function<Tensor(const Tensor&)>;
  virtual ~RepeatedFunction() = default;

  // The function of x, a tensor of the CPU; the result lies there, too.
  virtual Tensor operator()(const Tensor& x) = 0;
};

}  // namespace relume
