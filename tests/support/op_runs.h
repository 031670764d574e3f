// What the tests of operations on the CPU and on other devices do with a case.
#pragma once

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <string>
#include <vector>

#include "autograd/graph.h"
#include "tests/support/numbers.h"
#include "tests/support/op_cases.h"

namespace relume::test {

struct Outcome {
  Tensor y;
  std::vector<Tensor> gradients;  // undefined for inputs that have none
};

// The gradient that backward passes begin with.
inline Tensor direction(const Tensor& y) {
  return uniform(y.shape(), 99, -1, 1, DType::f64).to(DType::f32).to(y.dtype()).to(y.device());
}

inline Outcome run(const OpCase& c, std::vector<Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (c.inputs[i].differentiable) inputs[i] = require_grad(inputs[i]);
  Outcome o{.y = c.run(inputs), .gradients = {}};
  backward(o.y, direction(o.y));
  for (size_t i = 0; i < inputs.size(); ++i) o.gradients.push_back(c.inputs[i].differentiable ? grad(inputs[i]) : Tensor());
  return o;
}

// The same numbers inside wider rows, so that the row pitch differs from the length.
inline Tensor pitched(const Tensor& t) {
  if (t.rank() < 2) return t;
  const Tensor wide = Tensor::full(t.shape().with(-1, t.shape(-1) + 5), std::nan(""), t.dtype(), t.device());
  const Tensor inside = wide.columns(2, 2 + t.shape(-1));
  inside.copy_from(t);
  return inside;
}

inline std::string case_name(const testing::TestParamInfo<OpCase>& info) {
  std::string name = info.param.name;
  for (char& ch : name)
    if (!std::isalnum(static_cast<unsigned char>(ch))) ch = '_';
  return name;
}

}  // namespace relume::test
