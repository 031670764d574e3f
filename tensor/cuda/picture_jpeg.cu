// The simulated JPEG on squares of 16 x 16 pixels (one 4:2:0 unit). A block of threads takes some squares through shared
// memory; a thread holds a line of a block of coefficients in registers, so that quantisation lies between the two transforms
// of a column.
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/simulated_jpeg.h"

namespace relume::cuda {
namespace {

using jpeg::Matrix, jpeg::side;
using kernels::SimulatedJpegOptions;

constexpr int squares_each = 4, blocks_each = 6;
constexpr int jpeg_threads = squares_each * blocks_each * 8;  // one for each line of eight coefficients

// Luma as four blocks in reading order, then cb and cr as averages of 2 x 2 pixels, all around zero. Lines of nine: neither
// those of a block nor its columns share a bank.
using Squares = float[squares_each][blocks_each][8][9];

// A picture batch as squares, counted in reading order over pictures padded to whole ones.
struct Grid {
  explicit Grid(const Tensor& x)
      : samples(x.shape(0)),
        height(x.shape(1)),
        width(x.shape(2)),
        rows((height + side - 1) / side),
        columns((width + side - 1) / side) {}
  __host__ __device__ int64_t squares() const { return samples * rows * columns; }
  __device__ int64_t sample_of(int64_t square) const { return std::min(square, squares() - 1) / (rows * columns); }
  int64_t samples, height, width, rows, columns;
};

// ---- Pixels ---------------------------------------------------------------------------------------------------------------

// 2 x 2 pixels, which share their cb and cr: where they lie, and their numbers.
struct Quad {
  int square, row, column;
  float at[2][2][3];
};

// f(quad) for the quads of the block's squares, pixels not yet filled in; neighbouring threads get neighbours.
template <class F> __device__ inline void each_quad(F&& f) {
  constexpr int across = side / 2;
  for (int i = int(threadIdx.x); i < squares_each * across * across; i += jpeg_threads) {
    Quad quad{.square = i / across % squares_each, .row = i / across / squares_each * 2, .column = i % across * 2};
    f(quad);
  }
}

// f(values of a pixel in the picture, of the quad) for the pixels of the quad that lie in the picture.
template <class T, class F> __device__ inline void each_pixel(Quad& quad, const Grid& grid, T* pictures, F&& f) {
  const int64_t square = int64_t(blockIdx.x) * squares_each + quad.square;
  const int64_t n = square / (grid.rows * grid.columns), in_sample = square - n * grid.rows * grid.columns;
  const int64_t y = in_sample / grid.columns * side + quad.row, x = in_sample % grid.columns * side + quad.column;
  RELUME_UNROLL
  for (int i = 0; i < 2; ++i) {
    RELUME_UNROLL
    for (int k = 0; k < 2; ++k)
      if (n < grid.samples && y + i < grid.height && x + k < grid.width)
        f(pictures + ((n * grid.height + y + i) * grid.width + x + k) * 3, quad.at[i][k]);
  }
}

// Pixels outside the picture are zeros.
__device__ inline void load(Quad& quad, const Grid& grid, const float* pictures) {
  each_pixel(quad, grid, pictures, [](const float* from, float(&to)[3]) {
    for (int c = 0; c < 3; ++c) to[c] = from[c];
  });
}
__device__ inline void store(Quad& quad, const Grid& grid, float* pictures) {
  each_pixel(quad, grid, pictures, [](float* to, const float(&from)[3]) {
    for (int c = 0; c < 3; ++c) to[c] = from[c];
  });
}

template <class F> __device__ inline void each_number(Quad& quad, F&& f) {
  RELUME_UNROLL
  for (int i = 0; i < 2; ++i) {
    RELUME_UNROLL
    for (int k = 0; k < 2; ++k) {
      RELUME_UNROLL
      for (int c = 0; c < 3; ++c) quad.at[i][k][c] = f(quad.at[i][k][c], i, k, c);
    }
  }
}

__device__ inline float clamped(float x) { return std::min(255.0f, std::max(0.0f, x)); }

// The quad through a matrix into the squares: luma with a shift, chroma_scale times the sum of chroma.
__device__ inline void gather(Squares& to, const Quad& quad, const Matrix& m, float luma_shift, float chroma_scale) {
  float chroma[2] = {};
  auto& block = to[quad.square];
  for (int i = 0; i < 2; ++i)
    for (int k = 0; k < 2; ++k) {
      const auto row = [&](size_t c) {
        return quad.at[i][k][0] * m[c][0] + quad.at[i][k][1] * m[c][1] + quad.at[i][k][2] * m[c][2];
      };
      block[quad.row / 8 * 2 + quad.column / 8][quad.row % 8 + i][quad.column % 8 + k] = row(0) + luma_shift;
      chroma[0] += row(1), chroma[1] += row(2);
    }
  for (int c = 0; c < 2; ++c) block[4 + c][quad.row / 2][quad.column / 2] = chroma[c] * chroma_scale;
}

// The squares through a matrix into the quad, chroma repeated.
__device__ inline void spread(Quad& quad, const Squares& from, const Matrix& m, float luma_shift, float chroma_scale) {
  const auto& block = from[quad.square];
  const auto& luma = block[quad.row / 8 * 2 + quad.column / 8];
  const float cb = block[4][quad.row / 2][quad.column / 2] * chroma_scale;
  const float cr = block[5][quad.row / 2][quad.column / 2] * chroma_scale;
  each_number(quad, [&](float, int i, int k, int c) {
    const float y = luma[quad.row % 8 + i][quad.column % 8 + k] + luma_shift;
    return y * m[size_t(c)][0] + cb * m[size_t(c)][1] + cr * m[size_t(c)][2];
  });
}

// ---- Coefficients ---------------------------------------------------------------------------------------------------------

// The line of coefficients that a thread works on.
struct Line {
  __device__ Line()
      : index(int(threadIdx.x) % 8), block(int(threadIdx.x) / 8 % blocks_each), square(int(threadIdx.x) / 8 / blocks_each) {}
  template <class F> __device__ void transform_row(Squares& squares, F&& f) const {
    transform(squares[square][block][index], 1, f);
  }
  template <class F> __device__ void transform_column(Squares& squares, F&& f) const {
    transform(&squares[square][block][0][index], 9, f);
  }
  int index, block, square;

 private:
  template <class F> __device__ static void transform(float* line, int stride, F&& f) {
    float x[8];
    RELUME_UNROLL
    for (int i = 0; i < 8; ++i) x[i] = line[i * stride];
    f(x);
    RELUME_UNROLL
    for (int i = 0; i < 8; ++i) line[i * stride] = x[i];
  }
};

__device__ inline void forward_row(float (&x)[8]) { jpeg::cosine_sums(x, 1); }
__device__ inline void inverse_row(float (&x)[8]) { jpeg::cosine_series(x, 1); }
__device__ inline void forward_column(float (&x)[8], int v) {
  jpeg::cosine_sums(x, 1);
  for (int u = 0; u < 8; ++u) x[u] *= jpeg::normal(u, v);
}
__device__ inline void inverse_column(float (&x)[8], int v) {
  for (int u = 0; u < 8; ++u) x[u] *= jpeg::normal(u, v);
  jpeg::cosine_series(x, 1);
}

// The quantisation steps of a column, and what they do to it.
struct Steps {
  __device__ Steps(const Line& line, const jpeg::Tables& tables, float quality) {
    const float factor = kernels::simulated_jpeg_factor(quality);
    none = factor == 0;
    const auto v = size_t(line.index);
    for (size_t u = 0; u < 8; ++u) at[u] = factor * (line.block < 4 ? tables.luma[u][v] : tables.chroma[u][v]);
  }
  __device__ void quantise(float (&x)[8], bool differentiable) const {
    if (none) return;
    for (int u = 0; u < 8; ++u) {
      const float v = x[u] / at[u], whole = ::nearbyintf(v), rest = v - whole;
      x[u] = (differentiable ? whole + rest * rest * rest : whole) * at[u];
    }
  }
  // The gradient through differentiable quantise(), of the coefficients before it.
  __device__ void multiply_by_slope(float (&gradient)[8], const float (&coefficients)[8]) const {
    if (none) return;
    for (int u = 0; u < 8; ++u) {
      const float v = coefficients[u] / at[u], rest = v - ::nearbyintf(v);
      gradient[u] *= 3 * rest * rest;
    }
  }
  float at[8];
  bool none;  // quality 100: the factor is zero, and nothing is rounded
};

// ---- Kernels --------------------------------------------------------------------------------------------------------------

// What the host hands over.
struct Job {
  Job(const Tensor& x, const Tensor& qualities, const SimulatedJpegOptions& options)
      : grid(x),
        quality(qualities.data<float>()),
        tables(options.transposed_luma_table),
        differentiable(options.differentiable) {}
  __device__ Steps steps(const Line& line) const {
    return {line, tables, quality[grid.sample_of(int64_t(blockIdx.x) * squares_each + line.square)]};
  }
  Grid grid;
  const float* quality;
  jpeg::Tables tables;
  Matrix to_ycc = jpeg::to_ycc, to_rgb = jpeg::to_rgb, to_ycc_transposed = jpeg::to_ycc_transposed,
         to_rgb_transposed = jpeg::to_rgb_transposed;
  bool differentiable;
};

// The pictures' squares with their rows transformed.
__device__ inline void load_squares(Squares& squares, const Job& job, const float* x, const Line& line) {
  each_quad([&](Quad& quad) {
    load(quad, job.grid, x);
    each_number(quad, [](float value, int, int, int) { return clamped(value * 255); });
    gather(squares, quad, job.to_ycc, -128, 0.25f);
  });
  sync_block();
  line.transform_row(squares, forward_row);
  sync_block();
}

static __global__ void jpeg_forward(Job job, float* y, const float* x) {
  RELUME_SHARED(squares, Squares);
  const Line line;
  load_squares(squares, job, x, line);
  const Steps steps = job.steps(line);
  line.transform_column(squares, [&](float(&c)[8]) {
    forward_column(c, line.index);
    steps.quantise(c, job.differentiable);
    inverse_column(c, line.index);
  });
  sync_block();
  line.transform_row(squares, inverse_row);
  sync_block();
  each_quad([&](Quad& quad) {
    spread(quad, squares, job.to_rgb, 128, 1);
    each_number(quad, [](float value, int, int, int) { return clamped(value) / 255; });
    store(quad, job.grid, y);
  });
}

// Gradients pass where clamping left the value as it was.
__device__ inline void gate(Quad& gradient, const Quad& value) {
  each_number(gradient,
              [&](float g, int i, int k, int c) { return value.at[i][k][c] == clamped(value.at[i][k][c]) ? g : 0.0f; });
}

static __global__ void jpeg_backward(Job job, float* dx, const float* dy, const float* x) {
  RELUME_SHARED(squares, Squares);
  const Line line;
  load_squares(squares, job, x, line);
  const Steps steps = job.steps(line);
  float coefficients[8];
  line.transform_column(squares, [&](float(&c)[8]) {
    forward_column(c, line.index);
    for (int u = 0; u < 8; ++u) coefficients[u] = c[u];
    steps.quantise(c, true);
    inverse_column(c, line.index);
  });
  sync_block();
  line.transform_row(squares, inverse_row);
  sync_block();
  each_quad([&](Quad& quad) {  // result and gradient of a quad lie in the same place
    Quad result = quad;
    spread(result, squares, job.to_rgb, 128, 1);
    load(quad, job.grid, dy);
    gate(quad, result);
    each_number(quad, [](float g, int, int, int) { return g / 255; });
    gather(squares, quad, job.to_rgb_transposed, 0, 1);
  });
  sync_block();
  line.transform_row(squares, forward_row);
  sync_block();
  line.transform_column(squares, [&](float(&gradient)[8]) {
    forward_column(gradient, line.index);
    steps.multiply_by_slope(gradient, coefficients);
    inverse_column(gradient, line.index);
  });
  sync_block();
  line.transform_row(squares, inverse_row);
  sync_block();
  each_quad([&](Quad& quad) {
    Quad value = quad;
    load(value, job.grid, x);
    each_number(value, [](float v, int, int, int) { return v * 255; });
    spread(quad, squares, job.to_ycc_transposed, 0, 0.25f);
    each_number(quad, [](float g, int, int, int) { return g * 255; });
    gate(quad, value);
    store(quad, job.grid, dx);
  });
}

// Where the coefficients of a square's block lie: luma blocks in reading order over the whole plane.
__device__ inline float* coefficients_of(const Grid& grid, int64_t square, int block, float* luma, float* cb, float* cr) {
  if (block >= 4) return (block == 4 ? cb : cr) + square * 64;
  const int64_t row = square / grid.columns, column = square - row * grid.columns;  // rows of all samples together
  return luma + ((2 * row + block / 2) * 2 * grid.columns + 2 * column + block % 2) * 64;
}

static __global__ void jpeg_coefficients(Job job, float* luma, float* cb, float* cr, const float* x) {
  RELUME_SHARED(squares, Squares);
  const Line line;
  load_squares(squares, job, x, line);
  const Steps steps = job.steps(line);
  line.transform_column(squares, [&](float(&c)[8]) {
    forward_column(c, line.index);
    for (int u = 0; u < 8; ++u) c[u] = ::nearbyintf(c[u] / steps.at[u]);
  });
  sync_block();
  for (int i = int(threadIdx.x); i < squares_each * blocks_each * 64; i += jpeg_threads) {
    const int k = i % 64, block = i / 64 % blocks_each, s = i / 64 / blocks_each;
    const int64_t square = int64_t(blockIdx.x) * squares_each + s;
    if (square < job.grid.squares())
      coefficients_of(job.grid, square, block, luma, cb, cr)[k] = squares[s][block][k / 8][k % 8];
  }
}

dim3 grid_of(const Tensor& x) { return dim3(unsigned((Grid(x).squares() + squares_each - 1) / squares_each)); }

void simulated_jpeg_forward(const Tensor& y, const Tensor& x, const Tensor& quality, const SimulatedJpegOptions& options) {
  if (x.numel() == 0) return;
  launch("simulated_jpeg_forward", jpeg_forward, grid_of(x), jpeg_threads, 0, stream(x.device()), Job(x, quality, options),
         y.data<float>(), x.data<float>());
}

void simulated_jpeg_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& quality,
                             const SimulatedJpegOptions& options) {
  RELUME_BUG(options.differentiable, "simulated_jpeg_backward: plain rounding has no gradient");
  if (x.numel() == 0) return;
  launch("simulated_jpeg_backward", jpeg_backward, grid_of(x), jpeg_threads, 0, stream(x.device()), Job(x, quality, options),
         dx.data<float>(), dy.data<float>(), x.data<float>());
}

void simulated_jpeg_coefficients(const Tensor& luma, const Tensor& cb, const Tensor& cr, const Tensor& x, const Tensor& quality,
                                 const SimulatedJpegOptions& options) {
  if (x.numel() == 0) return;
  launch("simulated_jpeg_coefficients", jpeg_coefficients, grid_of(x), jpeg_threads, 0, stream(x.device()),
         Job(x, quality, options), luma.data<float>(), cb.data<float>(), cr.data<float>(), x.data<float>());
}

}  // namespace

void register_picture_jpeg_kernels() {
  kernels::simulated_jpeg_forward.set(DeviceKind::cuda, simulated_jpeg_forward);
  kernels::simulated_jpeg_backward.set(DeviceKind::cuda, simulated_jpeg_backward);
  kernels::simulated_jpeg_coefficients.set(DeviceKind::cuda, simulated_jpeg_coefficients);
}

}  // namespace relume::cuda
