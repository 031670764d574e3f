// Convolutions, channels last: weight [out, kh, kw, in] in memory, [out, in, kh, kw] on disk, [in, out, kh, kw] where it is
// transposed.
#pragma once

#include "autograd/conv.h"
#include "autograd/matmul.h"
#include "autograd/resample.h"
#include "autograd/shape.h"
#include "layers/module.h"

namespace relume {

struct Conv2dShape {
  int64_t in = 0, out = 0;
  int kernel = 3;
  bool bias = true;
  int enlarge = 1;  // each pixel repeated so many times both ways before the convolution (nearest upsampling)
  int stride = 1;
  // Zeros above and left of the map, and below and right of it; -1: kernel / 2, with which stride 1 keeps the (enlarged) size.
  int pad_before = -1, pad_after = -1;

  ConvOptions options() const {
    const int before = pad_before < 0 ? kernel / 2 : pad_before, after = pad_after < 0 ? kernel / 2 : pad_after;
    return {stride, before, before, after, after, enlarge};
  }
};

class Conv2d : public Module {
 public:
  Conv2d(Module* parent, std::string name, Conv2dShape s)
      : Module(parent, std::move(name)),
        weight(parameter("weight", {s.out, s.kernel, s.kernel, s.in}, StoredAs::conv)),
        bias(s.bias ? parameter("bias", {s.out}) : Tensor()),
        options_(s.options()) {}

  // x [N, H, W, in] to act(conv(x)) + residual [N, H', W', out].
  Tensor operator()(const Tensor& x, Activation act = {}, const Tensor& residual = {}) const {
    return with_path([&] { return conv2d(x, parameter_for(x, weight), parameter_for(x, bias), options_, act, residual); });
  }

  // For maps that are computed in pieces, with nothing recorded for gradients: conv(x) + residual into y [N, H', W', out], with
  // the padding around this piece in place of options()'. residual may be y, or undefined.
  void write(const Tensor& y, const Tensor& x, const ConvOptions& around, const Tensor& residual = {}) const {
    with_path([&] {
      const NoGrad no_grad;
      kernels::conv2d_forward.on(x.device())(y, x, parameter_for(x, weight), parameter_for(x, bias), around, {{}, residual});
      return y;
    });
  }

  const ConvOptions& options() const { return options_; }

  Tensor weight, bias;

 private:
  ConvOptions options_;
};

// Transposed convolution whose stride is its kernel's side, without bias: each pixel becomes a square of its own, and so a row
// of a matrix product.
class ConvTranspose2d : public Module {
 public:
  ConvTranspose2d(Module* parent, std::string name, int64_t in, int64_t out, int kernel)
      : Module(parent, std::move(name)), weight(parameter("weight", {out, kernel, kernel, in}, StoredAs::last_first)) {}

  // x [N, H, W, in] to [N, kernel*H, kernel*W, out].
  Tensor operator()(const Tensor& x) const {
    return with_path([&] {
      const Tensor w = parameter_for(x, weight);
      const int64_t in = w.shape(3);
      return pixel_shuffle(linear(x, reshape(w, {w.numel() / in, in}), {}), int(w.shape(1)));
    });
  }

  Tensor weight;
};

}  // namespace relume
