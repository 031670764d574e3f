#include "tensor/cuda/conv_strips.h"

#include "tensor/cuda/cublaslt.h"
#include "tensor/cuda/loops.h"

namespace relume::cuda {
namespace {

constexpr int64_t tile_side = 64;  // of engines' tiles
// With fewer pixels cuDNN is as fast, with fewer outputs (3: 1.0 ms against 1.3 on an H200) faster.
constexpr int64_t fewest_pixels = 16384, fewest_outputs = 16;

// Where the output's pixels read.
struct Taps {
  int64_t height, width, out_height, out_width;  // of the enlarged map and of the output
  int64_t channels, kernel_width, columns;       // columns: of all taps
  int stride, top, left, enlarge;
};

// out [rows, columns]: for the output's pixels from `first` on, the N channels that each tap reads; zeros beyond the map.
template <int N> static __global__ void gather_taps(Taps t, int64_t first, int64_t rows, float* out, Rows<float> x) {
  const int64_t packs = t.columns / N, of_tap = t.channels / N;
  for_each_item(rows * packs, [&](int64_t i) {
    const int64_t row = i / packs, pack = i - row * packs, tap = pack / of_tap, channel = (pack - tap * of_tap) * N;
    const int64_t pixel = first + row, line = pixel / t.out_width, sample = line / t.out_height;
    const int64_t ky = tap / t.kernel_width, kx = tap - ky * t.kernel_width;
    const int64_t y = (line - sample * t.out_height) * t.stride - t.top + ky,
                  column = (pixel - line * t.out_width) * t.stride - t.left + kx;
    Pack<float, N> in{};
    if (y >= 0 && y < t.height && column >= 0 && column < t.width) {
      const int64_t from = (sample * (t.height / t.enlarge) + y / t.enlarge) * (t.width / t.enlarge) + column / t.enlarge;
      in = *reinterpret_cast<const Pack<float, N>*>(x.at(from, channel));
    }
    *reinterpret_cast<Pack<float, N>*>(out + row * t.columns + pack * N) = in;
  });
}

}  // namespace

bool strips_suit(const Tensor& dw, const Tensor& dy) {
  const auto tiles = [](int64_t size) { return (size + tile_side - 1) / tile_side; };
  return dw.dtype() == DType::f32 && !rounds_to_tf32(DType::f32) && dy.rows() >= fewest_pixels &&
         dw.shape(0) >= fewest_outputs && tiles(dw.shape(0)) * tiles(dw.numel() / dw.shape(0)) <= multiprocessors(dw.device());
}

void weight_gradient_in_strips(const Tensor& dw, const Tensor& dy, const Tensor& x, const kernels::ConvOptions& o,
                               int64_t bytes) {
  constexpr const char* name = "conv2d_backward_weight";
  const int64_t out_channels = dw.shape(0), columns = dw.numel() / out_channels, pixels = dy.rows();
  const Taps taps{.height = x.shape(1) * o.enlarge,
                  .width = x.shape(2) * o.enlarge,
                  .out_height = dy.shape(1),
                  .out_width = dy.shape(2),
                  .channels = x.shape(3),
                  .kernel_width = dw.shape(2),
                  .columns = columns,
                  .stride = o.stride,
                  .top = o.top,
                  .left = o.left,
                  .enlarge = o.enlarge};
  const int64_t each = std::clamp<int64_t>(bytes / (columns * int64_t(sizeof(float))), 1, pixels);
  const Tensor read = Tensor::empty({each, columns}, DType::f32, x.device());
  const Tensor sum = dw.reshape({out_channels, columns}), gradients = dy.reshape({pixels, out_channels});
  const bool packed = taps.channels % 4 == 0 && packs_fit<float, 4>(x, false);
  for (int64_t first = 0; first < pixels; first += each) {
    const int64_t rows = std::min(each, pixels - first);
    const Tensor strip = read.slice(0, rows);
    launch(name, packed ? gather_taps<4> : gather_taps<1>, loop_grid(strip.numel() / (packed ? 4 : 1), x.device()),
           loop_threads, 0, stream(x.device()), taps, first, rows, strip.data<float>(), Rows<float>(x));
    multiply(name, sum, transposed(gradients.slice(first, first + rows)), strip, {}, first > 0 ? sum : Tensor());
  }
}

}  // namespace relume::cuda
