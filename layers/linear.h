// Linear: y = x weight^T + bias, weight [out, in] as published.
#pragma once

#include "autograd/matmul.h"
#include "layers/module.h"

namespace relume {

struct LinearShape {
  int64_t in = 0, out = 0;
  bool bias = true;
};

class Linear : public Module {
 public:
  Linear(Module* parent, std::string name, LinearShape s)
      : Module(parent, std::move(name)),
        weight(parameter("weight", {s.out, s.in})),
        bias(s.bias ? parameter("bias", {s.out}) : Tensor()) {}

  // x [..., in] to [..., out], with activation, stochastic depth and residual fused.
  Tensor operator()(const Tensor& x, const LinearOptions& options = {}) const {
    return with_path([&] { return linear(x, parameter_for(x, weight), parameter_for(x, bias), options); });
  }

  Tensor weight, bias;
};

}  // namespace relume
