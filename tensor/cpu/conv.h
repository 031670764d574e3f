// What the ways of convolving share (conv.cpp chooses): f32, channels last.
#pragma once

#include "tensor/cpu/gemm.h"
#include "tensor/cpu/shares.h"
#include "tensor/kernels/conv.h"

namespace relume::cpu {

// How the pixels of one map are made of taps of another: pixel (i, j), tap (a, b) meets row (i * stride + a - top) and column
// (j
// * stride + b - left) of the source enlarged `enlarge` times, or with `apart` - 1 zeros between its pixels (the gradient of a
// stride); zero outside.
struct Taps {
  Taps(const Tensor& source, int64_t height, int64_t width, int64_t kernel_height, int64_t kernel_width)
      : data(source.data<float>()),
        pitch(source.pitch()),
        n(source.shape(0)),
        h(source.shape(1)),
        w(source.shape(2)),
        c(source.shape(3)),
        rows(height),
        columns(width),
        kh(kernel_height),
        kw(kernel_width) {}
  int64_t pixels() const { return n * rows * columns; }
  int64_t depth() const { return kh * kw * c; }
  // The row (column) of the source that one of the enlarged or spread source is; -1: zero.
  int64_t source_row(int64_t at) const { return source_index(at, h); }
  int64_t source_column(int64_t at) const { return source_index(at, w); }
  const float* pixel(int64_t picture, int64_t row, int64_t column) const {
    return data + ((picture * h + row) * w + column) * pitch;
  }

  const float* data;  // [n, h, w, c], dense or pitched
  int64_t pitch, n, h, w, c;
  int64_t rows, columns;  // of the result
  int64_t kh, kw;
  int64_t stride = 1, top = 0, left = 0, enlarge = 1, apart = 1;

 private:
  int64_t source_index(int64_t at, int64_t size) const {
    if (at < 0 || at >= size * enlarge * apart || at % apart != 0) return -1;
    return at / (enlarge * apart);
  }
};

// What happens to a product of a convolution before it is stored.
struct ConvFinish {
  const float* bias = nullptr;
  bool leaky = false;
  float slope = 0;
  Tensor residual = {};
};

// Winograd's minimal filtering (Lavin & Gray 2016) for 3x3 kernels: F(4x4, 3x3) for stride 1, 36 products per channel pair for
// 16 pixels instead of 144; for stride 2, whose outer taps are an F(4x4, 2x2) of every second pixel, 81. Its errors are some
// 1e-6 of the result, three times those of the direct sum.
namespace winograd {
// Whether forward() is worth while, and with stride 1 the gradients: decided by the sizes alone, so that results do not depend
// on the machine. Where a kink follows (leaky ReLU), small maps take the direct sum: an error may put a value on the other
// side, and the gradient is another one.
bool fits(const Taps& taps, bool kink = false);
void forward(const Tensor& y, const Taps& taps, const Tensor& w, WeightUse use, const ConvFinish& finish);
// The gradient towards the source of an enlargement by two: like forward(), each 2 x 2 pixels added up; dx has half the size of
// taps.rows x taps.columns.
void forward_halved(const Tensor& dx, const Taps& taps, const Tensor& w, WeightUse use);
void backward_weight(const Tensor& dw, const Tensor& dy, const Taps& taps);
}  // namespace winograd

}  // namespace relume::cpu
