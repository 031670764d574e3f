// Resampling as two one-dimensional passes, with a picture between them. Which comes first depends on the sizes alone: rows are
// reduced before columns are touched, and enlarged after.
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

struct Axis {
  explicit Axis(const kernels::ResampleAxis& axis)
      : out(axis.index.shape(0)),
        taps(axis.index.shape(1)),
        index(axis.index.data<int32_t>()),
        weight(axis.weight.data<float>()) {}
  int64_t out, taps;
  const int32_t* index;
  const float* weight;
};

// Lines of `each` neighbouring floats are combined: out[n, i, k] = sum over t of weight[i, t] * in[n, index[i, t], k], `count`
// lines in, N floats at a time.
template <int N>
static __global__ void combine_lines(int64_t samples, int64_t count, int64_t each, Axis axis, float* out, const float* in) {
  const int64_t packs = each / N;
  for_each_item(samples * axis.out * packs, [&](int64_t item) {
    const int64_t line = item / packs, n = line / axis.out, i = line - n * axis.out;
    const float* const from = in + n * count * each + (item - line * packs) * N;
    Pack<float, N> sum{};
    for (int64_t t = i * axis.taps; t < (i + 1) * axis.taps; ++t) {
      const auto value = *reinterpret_cast<const Pack<float, N>*>(from + axis.index[t] * each);
      for (int k = 0; k < N; ++k) sum.at[k] = math::fma(axis.weight[t], value.at[k], sum.at[k]);
    }
    *reinterpret_cast<Pack<float, N>*>(out + item * N) = sum;
  });
}

void combine(int64_t samples, int64_t count, int64_t each, const Axis& axis, float* out, const float* in, Device device) {
  constexpr int N = pack_size<float>;
  const bool packed = each % N == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0 && reinterpret_cast<uintptr_t>(in) % 16 == 0;
  launch("resample", packed ? combine_lines<N> : combine_lines<1>,
         loop_grid(samples * axis.out * each / (packed ? N : 1), device), loop_threads, 0, stream(device), samples, count, each,
         axis, out, in);
}

void resample(const Tensor& y, const Tensor& x, const kernels::ResampleAxis& row_axis,
              const kernels::ResampleAxis& column_axis) {
  if (y.numel() == 0) return;
  const Axis rows(row_axis), columns(column_axis);
  const int64_t samples = x.shape(0), height = x.shape(1), width = x.shape(2), channels = x.shape(3);
  const Device device = x.device();
  const bool rows_first = rows.out < height;
  const int64_t elements = samples * channels * (rows_first ? rows.out * width : height * columns.out);
  const Storage scratch(device, elements * int64_t(sizeof(float)), MemoryUse::scratch);
  auto* const between = static_cast<float*>(scratch.data());
  if (rows_first) {
    combine(samples, height, width * channels, rows, between, x.data<float>(), device);
    combine(samples * rows.out, width, channels, columns, y.data<float>(), between, device);
  } else {
    combine(samples * height, width, channels, columns, between, x.data<float>(), device);
    combine(samples, height, columns.out * channels, rows, y.data<float>(), between, device);
  }
}

}  // namespace

void register_picture_resample_kernels() { kernels::resample.set(DeviceKind::cuda, resample); }

}  // namespace relume::cuda
