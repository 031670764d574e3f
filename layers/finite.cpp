#include "layers/finite.h"

#include <cmath>

#include "tensor/kernels/reduce.h"

namespace relume {

// A sum of numbers is one: it is taken in double, which no sum of floats leaves.
bool is_finite(const Tensor& t) {
  if (t.numel() == 0) return true;
  const Tensor total = Tensor::empty({}, DType::f64, t.device());
  kernels::sum.on(t.device())(total, t);
  return std::isfinite(total.item());
}

void FiniteScope::check(const Tensor& result) {
  if (is_float(result.dtype()) && !is_finite(result)) throw NotFinite("values that are no numbers");
}

int& FiniteScope::depth() {
  thread_local int depth = 0;
  return depth;
}

}  // namespace relume
