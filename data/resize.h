// Resizing of float pictures in one place, as OpenCV, PyTorch and MATLAB do it (spec degradation D2.6, metrics 4). Pictures are
// f32 [H, W, C] or [N, H, W, C] on any device, values in any range; results have as many axes, and nothing is clamped: cubic
// modes may leave the range of their input. Weights are made on the host, the sums are the slot kernels::resample.
// (Pillow's 8-bit arithmetic is data/pil_resize.h.)
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

enum class OpencvResize {
  linear,
  area,     // mean over the box a pixel covers; where either side grows, OpenCV's own mixture of linear and nearest
  cubic,    // a = -0.75
  lanczos,  // eight pixels, sinc(t) sinc(t / 4)
};

// cv2.resize: half-pixel centres, border replicate, no antialiasing but for `area`. The pictures themselves when the size is
// kept.
Tensor resize_opencv(const Tensor& pictures, int64_t height, int64_t width, OpencvResize mode);

enum class TorchResize {
  nearest,
  nearest_exact,
  area,  // adaptive average pooling
  bilinear,
  bicubic,  // a = -0.75; with antialias -0.5
};

struct TorchResizeOptions {
  bool antialias = false;           // bilinear and bicubic only: the filter is stretched when the picture shrinks
  double scale_y = 0, scale_x = 0;  // what maps coordinates in place of out / in; 0: out / in. `area` ignores them
};

// F.interpolate(size=(height, width), align_corners=False).
Tensor resize_torch(const Tensor& pictures, int64_t height, int64_t width, TorchResize mode,
                    const TorchResizeOptions& options = {});

// The rows of pictures that these resizes read, increasing: what comes before one may leave out the others. Of OpenCV's modes
// not `area`.
std::vector<int64_t> rows_read_opencv(int64_t height, int64_t to_height, OpencvResize mode);
std::vector<int64_t> rows_read_torch(int64_t height, int64_t to_height, TorchResize mode,
                                     const TorchResizeOptions& options = {});

// F.interpolate(scale_factor=factor): sides become floor(side * factor), and `factor` itself maps the coordinates.
Tensor resize_torch_by(const Tensor& pictures, double factor, TorchResize mode, bool antialias = false);

// Antialiased bicubic to a short side of `short_side`; the long one keeps the ratio, truncated.
Tensor resize_short_side(const Tensor& pictures, int64_t short_side);

// Zeros on the right and at the bottom, to sides that are multiples of `multiple`.
Tensor pad_to_multiple(const Tensor& pictures, int64_t multiple);

// MATLAB's imresize(bicubic, antialiasing): sides become ceil(side * factor), borders mirrored with the edge repeated.
Tensor imresize_matlab(const Tensor& pictures, double factor);

// A side reduced by a factor: the floor of the real quotient, at most `side` / `factor` however that rounds (Python's
// int(side // factor)).
int64_t reduced_side(int64_t side, double factor);

}  // namespace relume
