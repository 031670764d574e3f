// Where numbers fail: values that are infinite, or not a number.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

class NotFinite : public Error {
 public:
  using Error::Error;
};

// Whether all values of a float tensor on any device are numbers.
bool is_finite(const Tensor& t);

// While one lives on this thread, a layer whose result is not finite throws NotFinite, and the error names the layer. Every
// result is read once more for it: this is for finding out where numbers failed, not for running.
class FiniteScope {
 public:
  FiniteScope() { ++depth(); }
  ~FiniteScope() { --depth(); }
  FiniteScope(const FiniteScope&) = delete;
  FiniteScope& operator=(const FiniteScope&) = delete;
  static bool active() { return depth() > 0; }
  static void check(const Tensor& result);

 private:
  static int& depth();
};

}  // namespace relume
