// Conv2d: channels last, weight [out, kh, kw, in] in memory, [out, in, kh, kw] on disk.
#pragma once

#include "autograd/conv.h"
#include "layers/module.h"

namespace relume {

struct Conv2dShape {
  int64_t in = 0, out = 0;
  int kernel = 3;
  bool bias = true;
  int enlarge = 1;  // each pixel repeated so many times both ways before the convolution (nearest upsampling)
  int stride = 1;   // 1 where there is an enlargement
};

// Zero padding of kernel / 2 on every side: with stride 1 the (enlarged) size is kept.
class Conv2d : public Module {
 public:
  Conv2d(Module* parent, std::string name, Conv2dShape s)
      : Module(parent, std::move(name)),
        weight(parameter("weight", {s.out, s.kernel, s.kernel, s.in}, StoredAs::conv)),
        bias(s.bias ? parameter("bias", {s.out}) : Tensor()),
        options_(ConvOptions::same(s.kernel, s.enlarge)) {
    options_.stride = s.stride;
  }

  // x [N, H, W, in] to act(conv(x)) + residual [N, enlarge*H, enlarge*W, out], or [N, ceil(H/stride), ceil(W/stride), out].
  Tensor operator()(const Tensor& x, Activation act = {}, const Tensor& residual = {}) const {
    return with_path([&] { return conv2d(x, parameter_for(x, weight), parameter_for(x, bias), options_, act, residual); });
  }

  Tensor weight, bias;

 private:
  ConvOptions options_;
};

}  // namespace relume
