#include "autograd/resample.h"

namespace relume {

namespace {
void check_map(const char* name, const Tensor& x) {
  RELUME_CHECK(x.rank() == 4 && is_float(x.dtype()), name, ": ", x, " given; expected a float map [N, H, W, C]");
}
Tensor map_like(const Tensor& x, int64_t height, int64_t width, int64_t channels) {
  return Tensor::empty({x.shape(0), height, width, channels}, x.dtype(), x.device());
}
}  // namespace

Tensor upsample_nearest(const Tensor& x, int factor) {
  check_map("upsample_nearest", x);
  RELUME_CHECK(factor >= 1, "upsample_nearest: factor ", factor);
  Tensor y = map_like(x, x.shape(1) * factor, x.shape(2) * factor, x.shape(3));
  kernels::upsample_nearest_forward.on(x.device())(y, x.contiguous(), factor);
  return record("upsample_nearest", y, {x}, [factor, shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::upsample_nearest_backward.on(dy.device())(dx, dy.contiguous(), factor);
    return {dx};
  });
}

Tensor pixel_unshuffle(const Tensor& x, int factor) {
  check_map("pixel_unshuffle", x);
  RELUME_CHECK(factor >= 1 && x.shape(1) % factor == 0 && x.shape(2) % factor == 0, "pixel_unshuffle: the map ", x.shape(),
               " is no multiple of ", factor, "; pad it");
  Tensor y = map_like(x, x.shape(1) / factor, x.shape(2) / factor, x.shape(3) * factor * factor);
  kernels::pixel_unshuffle.on(x.device())(y, x.contiguous(), factor);
  return record("pixel_unshuffle", y, {x}, [factor, shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::pixel_shuffle.on(dy.device())(dx, dy.contiguous(), factor);
    return {dx};
  });
}

Tensor pixel_shuffle(const Tensor& x, int factor) {
  check_map("pixel_shuffle", x);
  RELUME_CHECK(factor >= 1 && x.shape(3) % (factor * factor) == 0, "pixel_shuffle: ", x.shape(3),
               " channels are no multiple of ", factor * factor);
  Tensor y = map_like(x, x.shape(1) * factor, x.shape(2) * factor, x.shape(3) / (factor * factor));
  kernels::pixel_shuffle.on(x.device())(y, x.contiguous(), factor);
  return record("pixel_shuffle", y, {x}, [factor, shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::pixel_unshuffle.on(dy.device())(dx, dy.contiguous(), factor);
    return {dx};
  });
}

Tensor pad(const Tensor& x, int64_t top, int64_t left, int64_t bottom, int64_t right, Border border) {
  check_map("pad", x);
  const int64_t height = x.shape(1) + top + bottom, width = x.shape(2) + left + right;
  RELUME_CHECK(height > 0 && width > 0, "pad: nothing is left of ", x.shape());
  RELUME_CHECK(border != Border::reflect || (std::max(top, bottom) < x.shape(1) && std::max(left, right) < x.shape(2)),
               "pad: a reflected border of ", std::max(top, bottom), " rows and ", std::max(left, right),
               " columns needs a larger map than ", x.shape(), "; the picture is too small");
  if (top == 0 && left == 0 && bottom == 0 && right == 0) return x;
  Tensor y = map_like(x, height, width, x.shape(3));
  kernels::pad_forward.on(x.device())(y, x.contiguous(), top, left, border);
  return record("pad", y, {x}, [top, left, border, shape = x.shape()](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = Tensor::empty(shape, dy.dtype(), dy.device());
    kernels::pad_backward.on(dy.device())(dx, dy.contiguous(), top, left, border);
    return {dx};
  });
}

}  // namespace relume
