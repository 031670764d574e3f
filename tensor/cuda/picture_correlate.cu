#include <vector>

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/uploaded.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

// All taps are added up, also of kernels that are nearly a few products of lines: to find those, the host would have to wait
// for the weights. A warp makes `tile` neighbouring floats of R rows that lie below each other: a lane has every 32nd, so that
// what a weight or a pixel is read for stays in registers R or `columns_each` times. Source rows pass through shared memory a
// few at a time, with as many columns of the kernel as reach no further than `reach` floats.
constexpr int warps = 8, columns_each = 4, tile = columns_each * warp_size;
constexpr int rows_together = 4, reach = 64;

__device__ inline int64_t reflect_101(int64_t i, int64_t n) {
  if (i >= 0 && i < n) return i;  // nearly everywhere
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1);
  i = (i % period + period) % period;
  return i < n ? i : period - i;
}

struct Job {
  float* y;
  const float *x, *weights;
  int64_t samples, height, width, channels;
  int64_t kernel_height, kernel_width;
  int64_t kernel_step;  // from the kernel of a sample to that of the next: zero where one serves all
  __host__ __device__ int64_t length() const { return width * channels; }
  // Where element `at` of a row lies, which may be outside of it.
  __device__ int64_t reflected(int64_t at) const {
    if (at >= 0 && at < length()) return at;
    const int64_t pixel = (at >= 0 ? at : at - channels + 1) / channels;
    return reflect_101(pixel, width) * channels + at - pixel * channels;
  }
};

// What passes through shared memory in one step: `rows` source rows from the kernel's row `top` on, `columns` of the kernel
// from `first` on.
struct Step {
  int64_t top, first;
  int rows, columns;
};

// Row r of a group meets on its source row s the row s - r of the kernel.
template <int R> static __device__ void stage_weights(Pack<float, R> (&to)[rows_together][reach + 1], const Job& job,
                                                      const float* kernel, const Step& step) {
  for (int i = int(threadIdx.x); i < step.rows * step.columns * R; i += warps * warp_size) {
    const int r = i % R, column = i / R % step.columns, s = i / R / step.columns;
    const int64_t row = step.top + s - r;
    const bool inside = row >= 0 && row < job.kernel_height;
    to[s][column].at[r] = inside ? kernel[row * job.kernel_width + step.first + column] : 0;
  }
}

// The source rows of a warp whose group begins at `row`, for the tile that begins at `begin`.
static __device__ void stage_pixels(float (&to)[rows_together][tile + reach], const Job& job, const float* x, int64_t row,
                                    int64_t begin, const Step& step) {
  const int64_t from_row = row + step.top - job.kernel_height / 2;
  const int64_t from = begin + (step.first - job.kernel_width / 2) * job.channels;
  const int count = tile + (step.columns - 1) * int(job.channels);
  const float* source[rows_together];
  RELUME_UNROLL
  for (int s = 0; s < rows_together; ++s) source[s] = x + reflect_101(from_row + s, job.height) * job.length();
  for (int i = int(threadIdx.x) % warp_size; i < count; i += warp_size) {
    const int64_t at = job.reflected(from + i);
    RELUME_UNROLL
    for (int s = 0; s < rows_together; ++s)
      if (s < step.rows) to[s][i] = source[s][at];
  }
}

template <int R>
static __device__ void accumulate(float (&sum)[R][columns_each], const Pack<float, R> (&weights)[rows_together][reach + 1],
                                  const float (&pixels)[rows_together][tile + reach], const Step& step, int channels) {
  for (int s = 0; s < step.rows; ++s) {
    const float* from = pixels[s] + threadIdx.x % warp_size;
    for (int column = 0; column < step.columns; ++column, from += channels) {
      const Pack<float, R> weight = weights[s][column];
      RELUME_UNROLL
      for (int v = 0; v < columns_each; ++v) {
        const float value = from[v * warp_size];
        RELUME_UNROLL
        for (int r = 0; r < R; ++r) sum[r][v] = math::fma(weight.at[r], value, sum[r][v]);
      }
    }
  }
}

// Groups of R rows, each from the row that `rows` names on; a block takes a tile of as many groups as it has warps.
template <int R>
static __global__ void correlate_groups(Job job, int64_t groups, const int64_t* rows, int64_t tiles, int64_t group_blocks) {
  RELUME_SHARED(weights, Pack<float, R>[rows_together][reach + 1]);
  RELUME_SHARED(pixels, float[warps][rows_together][tile + reach]);
  const int warp = int(threadIdx.x) / warp_size, lane = int(threadIdx.x) % warp_size;
  const int64_t n = blockIdx.x / (tiles * group_blocks), group = blockIdx.x / tiles % group_blocks * warps + warp;
  const int64_t row = rows[std::min(group, groups - 1)], begin = blockIdx.x % tiles * tile;
  const float *const x = job.x + n * job.height * job.length(), *const kernel = job.weights + n * job.kernel_step;
  const int64_t most_columns = 1 + reach / job.channels, source_rows = job.kernel_height + R - 1;
  float sum[R][columns_each] = {};
  for (int64_t first = 0; first < job.kernel_width; first += most_columns)
    for (int64_t top = 0; top < source_rows; top += rows_together) {
      const Step step{top, first, int(std::min<int64_t>(rows_together, source_rows - top)),
                      int(std::min(most_columns, job.kernel_width - first))};
      sync_block();  // what the step before staged may still be read
      stage_weights<R>(weights, job, kernel, step);
      stage_pixels(pixels[warp], job, x, row, begin, step);
      sync_block();
      accumulate<R>(sum, weights, pixels[warp], step, int(job.channels));
    }
  if (group >= groups) return;
  RELUME_UNROLL
  for (int r = 0; r < R; ++r) {
    RELUME_UNROLL
    for (int v = 0; v < columns_each; ++v)
      if (const int64_t at = begin + lane + v * warp_size; at < job.length())
        job.y[(n * job.height + row + r) * job.length() + at] = sum[r][v];
  }
}

template <int R> void launch_groups(const char* name, const Job& job, std::span<const int64_t> first_rows, Device device) {
  if (first_rows.empty()) return;
  const Uploaded<int64_t> rows(first_rows, device);
  const auto groups = int64_t(first_rows.size());
  const int64_t tiles = (job.length() + tile - 1) / tile, group_blocks = (groups + warps - 1) / warps;
  launch(name, correlate_groups<R>, dim3(unsigned(tiles * group_blocks * job.samples)), warps * warp_size, 0, stream(device),
         job, groups, rows.data(), tiles, group_blocks);
}

// Writes the rows of y, all where `rows` is empty: four that lie below each other together. Kernels of one row have no source
// rows to share.
void correlate_rows(const char* name, const Job& job, std::span<const int64_t> rows, Device device) {
  std::vector<int64_t> fours, ones;
  const int64_t count = rows.empty() ? job.height : int64_t(rows.size());
  const auto row = [&](int64_t i) { return rows.empty() ? i : rows[size_t(i)]; };
  for (int64_t i = 0; i < count;) {
    const bool four = job.kernel_height > 1 && i + 4 <= count && row(i + 3) == row(i) + 3;
    (four ? fours : ones).push_back(row(i));
    i += four ? 4 : 1;
  }
  launch_groups<4>(name, job, fours, device);
  launch_groups<1>(name, job, ones, device);
}

// Kernels of height x width: one for each sample, or one for all.
Job job_of(float* y, const float* x, const Shape& pictures, const Tensor& kernels, int64_t height, int64_t width) {
  return {.y = y,
          .x = x,
          .weights = kernels.data<float>(),
          .samples = pictures[0],
          .height = pictures[1],
          .width = pictures[2],
          .channels = pictures[3],
          .kernel_height = height,
          .kernel_width = width,
          .kernel_step = kernels.shape(0) == 1 ? 0 : height * width};
}

void correlate(const Tensor& y, const Tensor& x, const Tensor& weights, std::span<const int64_t> rows) {
  if (x.numel() == 0) return;
  const Job job = job_of(y.data<float>(), x.data<float>(), x.shape(), weights, weights.shape(1), weights.shape(2));
  correlate_rows("correlate", job, rows, x.device());
}

// The column first, since it can leave out rows that are not wanted.
void correlate_separable(const Tensor& y, const Tensor& x, const Tensor& column, const Tensor& row,
                         std::span<const int64_t> rows) {
  if (x.numel() == 0) return;
  const Storage scratch(x.device(), x.numel() * int64_t(sizeof(float)), MemoryUse::scratch);
  auto* const between = static_cast<float*>(scratch.data());
  correlate_rows("correlate_separable", job_of(between, x.data<float>(), x.shape(), column, column.shape(1), 1), rows,
                 x.device());
  correlate_rows("correlate_separable", job_of(y.data<float>(), between, x.shape(), row, 1, row.shape(1)), rows, x.device());
}

}  // namespace

void register_picture_correlate_kernels() {
  kernels::correlate.set(DeviceKind::cuda, correlate);
  kernels::correlate_separable.set(DeviceKind::cuda, correlate_separable);
}

}  // namespace relume::cuda
