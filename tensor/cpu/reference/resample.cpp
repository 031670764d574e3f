#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {
namespace {

// Element [n, i, j, c] of a dense [N, H, W, C].
double& at(const Tensor& t, int64_t n, int64_t i, int64_t j, int64_t c) {
  return t.data<double>()[((n * t.shape(1) + i) * t.shape(2) + j) * t.shape(3) + c];
}

// Calls f(n, i, j, c) for every element of a tensor of this shape.
template <class F> void for_each(const Tensor& t, F&& f) {
  for (int64_t n = 0; n < t.shape(0); ++n)
    for (int64_t i = 0; i < t.shape(1); ++i)
      for (int64_t j = 0; j < t.shape(2); ++j)
        for (int64_t c = 0; c < t.shape(3); ++c) f(n, i, j, c);
}

// The position of 0 .. size-1 that position p of the padded axis shows, -1 for none.
int64_t shown(int64_t p, int64_t size, kernels::Border border) {
  if (0 <= p && p < size) return p;
  switch (border) {
    case kernels::Border::zero: return -1;
    case kernels::Border::replicate: return p < 0 ? 0 : size - 1;
    case kernels::Border::reflect: {
      const int64_t mirrored = p < 0 ? -p : 2 * size - 2 - p;
      RELUME_CHECK(0 <= mirrored && mirrored < size, "pad: a border cannot be reflected from ", size,
                   " pixels; use a larger picture or another border");
      return mirrored;
    }
  }
  RELUME_BUG(false, "border ", int(border));
}

// Calls f(y's element, x's element) for every element of the padded y that shows one of x, and f(y's element, null) for the
// rest.
template <class F>
void for_each_padded(const Tensor& y, const Tensor& x, int64_t top, int64_t left, kernels::Border border, F&& f) {
  for_each(y, [&](int64_t n, int64_t i, int64_t j, int64_t c) {
    const int64_t row = shown(i - top, x.shape(1), border), column = shown(j - left, x.shape(2), border);
    f(at(y, n, i, j, c), row < 0 || column < 0 ? nullptr : &at(x, n, row, column, c));
  });
}

}  // namespace

void upsample_nearest_forward(const Tensor& y, const Tensor& x, int factor) {
  for_each(y, [&](int64_t n, int64_t i, int64_t j, int64_t c) { at(y, n, i, j, c) = at(x, n, i / factor, j / factor, c); });
}

void upsample_nearest_backward(const Tensor& dx, const Tensor& dy, int factor) {
  for_each(dx, [&](int64_t n, int64_t i, int64_t j, int64_t c) { at(dx, n, i, j, c) = 0; });
  for_each(dy, [&](int64_t n, int64_t i, int64_t j, int64_t c) { at(dx, n, i / factor, j / factor, c) += at(dy, n, i, j, c); });
}

void pixel_unshuffle(const Tensor& y, const Tensor& x, int factor) {
  const int64_t f = factor;
  for_each(x, [&](int64_t n, int64_t i, int64_t j, int64_t c) {
    at(y, n, i / f, j / f, c * f * f + i % f * f + j % f) = at(x, n, i, j, c);
  });
}

void pixel_shuffle(const Tensor& y, const Tensor& x, int factor) {
  const int64_t f = factor;
  for_each(y, [&](int64_t n, int64_t i, int64_t j, int64_t c) {
    at(y, n, i, j, c) = at(x, n, i / f, j / f, c * f * f + i % f * f + j % f);
  });
}

void pad_forward(const Tensor& y, const Tensor& x, int64_t top, int64_t left, kernels::Border border) {
  for_each_padded(y, x, top, left, border, [](double& to, const double* from) { to = from ? *from : 0; });
}

void pad_backward(const Tensor& dx, const Tensor& dy, int64_t top, int64_t left, kernels::Border border) {
  for_each(dx, [&](int64_t n, int64_t i, int64_t j, int64_t c) { at(dx, n, i, j, c) = 0; });
  for_each_padded(dy, dx, top, left, border, [](double& from, double* to) {
    if (to) *to += from;
  });
}

}  // namespace relume::cpu::reference
