// 16-bit floats on the CPU are storage (design D2): kernels that have no 16-bit form run in f32 on widened copies.
#pragma once

#include "tensor/kernels/memory.h"

namespace relume::cpu {

inline bool is_half(const Tensor& t) { return t && (t.dtype() == DType::f16 || t.dtype() == DType::bf16); }

// The f32 copy of a 16-bit tensor; anything else, undefined included, as it is.
inline Tensor widened(const Tensor& t) { return is_half(t) ? t.to(DType::f32) : t; }

// An f32 stand-in for a 16-bit output; store() rounds it into the output.
class WidenedOutput {
 public:
  explicit WidenedOutput(const Tensor& out) : out_(out), wide_(is_half(out) ? Tensor::empty(out.shape()) : out) {}
  const Tensor& tensor() const { return wide_; }
  void store() const {
    if (is_half(out_)) kernels::copy.on(out_.device())(out_, wide_);
  }

 private:
  Tensor out_, wide_;
};

}  // namespace relume::cpu
