// Tiles of 4 x 4 results are computed from 6 x 6 pixels: each is transformed, multiplied over the channels at 36 places, and
// transformed back. A block of tiles goes through all three while it is in the cache. The transforms use the points 0, 1, -1,
// 2, -2 and infinity; B, G and A are named as in the paper.
#include "tensor/cpu/conv.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace relume::cpu::winograd {
namespace {

constexpr int64_t places = 36, least_channels = 16, least_tiles = 64, least_tiles_with_kink = 4096;

// x (6) to B^T x, in place.
inline void transform_input(Vec (&x)[6]) {
  const Vec a = x[4] - 4.f * x[2], b = x[3] - 4.f * x[1], c = x[4] - x[2], d = 2.f * (x[3] - x[1]);
  const Vec first = 4.f * x[0] - 5.f * x[2] + x[4], last = 4.f * x[1] - 5.f * x[3] + x[5];
  x[0] = first, x[1] = a + b, x[2] = a - b, x[3] = c + d, x[4] = c - d, x[5] = last;
}

// m (6) to A^T m (4).
inline void transform_output(const Vec (&m)[6], Vec (&y)[4]) {
  const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c, y[1] = b + 2.f * d, y[2] = a + 4.f * c, y[3] = b + 8.f * d + m[5];
}

// y (4) to A y (6): what a gradient towards the results is towards the products.
inline void transform_gradient(const Vec (&y)[4], Vec (&z)[6]) {
  const Vec a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4.f * y[2], d = 2.f * y[1] + 8.f * y[3];
  z[0] = y[0], z[1] = a + b, z[2] = a - b, z[3] = c + d, z[4] = c - d, z[5] = y[3];
}

constexpr double filter[6][3] = {{1. / 4, 0, 0},
                                 {-1. / 6, -1. / 6, -1. / 6},
                                 {-1. / 6, 1. / 6, -1. / 6},
                                 {1. / 24, 1. / 12, 1. / 6},
                                 {1. / 24, -1. / 12, 1. / 6},
                                 {0, 0, 1}};  // G

// Calls f(offset) for vectors that cover n >= lanes floats; the last overlaps the one before it.
template <class F> inline void for_each_vector(int64_t n, F&& f) {
  for (int64_t j = 0; j + lanes <= n; j += lanes) f(j);
  if (n % lanes != 0) f(n - lanes);
}

// The tiles of a result, numbered through all pictures.
struct Tiles {
  Tiles(int64_t pictures, int64_t height, int64_t width)
      : rows((height + 3) / 4), columns((width + 3) / 4), count(pictures * rows * columns) {}
  struct Place {
    int64_t n, top, left;  // of the tile's first pixel
  };
  Place place(int64_t tile) const { return {tile / (rows * columns), tile / columns % rows * 4, tile % columns * 4}; }
  int64_t rows, columns, count;
};

// Transformed tiles of a block, [places, block, pitch], channels behind the last one zero. A cache line lies between the
// places: the 36 numbers of one pixel must not fall into one set of the first-level cache.
struct Transformed {
  Transformed(int64_t tiles, int64_t channels)
      : pitch(round_up(channels, lanes)), place_step(tiles * pitch + 16), data(places * place_step) {}
  float* at(int64_t place, int64_t tile) const { return data.data() + place * place_step + tile * pitch; }
  LeftFactor rows(int64_t place) const { return {at(place, 0), pitch, 1}; }
  LeftFactor columns(int64_t place) const { return {at(place, 0), 1, pitch}; }
  int64_t pitch, place_step;
  Floats data;
};

// Where the pixels of one tile lie: rows and columns of pointers, to `zeros` outside.
template <int size> struct Pixels { const float* at[size][size]; };

Pixels<6> source_pixels(const Taps& t, const Tiles::Place& p, const float* zeros) {
  Pixels<6> pixels;
  int64_t columns[6];
  for (int j = 0; j < 6; ++j) columns[j] = t.source_column(p.left + j - t.left);
  for (int i = 0; i < 6; ++i) {
    const int64_t row = t.source_row(p.top + i - t.top);
    for (int j = 0; j < 6; ++j) pixels.at[i][j] = row < 0 || columns[j] < 0 ? zeros : t.pixel(p.n, row, columns[j]);
  }
  return pixels;
}

void transform_tile(const Transformed& out, int64_t tile, const Pixels<6>& pixels, int64_t channels) {
  for_each_vector(channels, [&](int64_t j) {
    Vec x[6][6];
    for (int column = 0; column < 6; ++column) {
      Vec line[6];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) line[i] = load(pixels.at[i][column] + j);
      transform_input(line);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) x[i][column] = line[i];
    }
    for (int i = 0; i < 6; ++i) {
      transform_input(x[i]);
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) store(out.at(i * 6 + k, tile) + j, x[i][k]);
    }
  });
  if (channels % lanes == 0) return;
  for (int64_t place = 0; place < places; ++place)
    std::fill(out.at(place, tile) + channels, out.at(place, tile) + out.pitch, 0.f);
}

void transform_block(const Transformed& out, const Taps& taps, const Tiles& tiles, int64_t begin, int64_t end,
                     const float* zeros) {
  for (int64_t tile = begin; tile < end; ++tile)
    transform_tile(out, tile - begin, source_pixels(taps, tiles.place(tile), zeros), taps.c);
}

// [places] packed matrices: G g G^T of every pair of channels. Kept as the packed weights of gemm.h are.
class Filters {
 public:
  Filters(const Tensor& w, WeightUse use)
      : flipped_(use == WeightUse::flipped), depth_(w.shape(flipped_ ? 0 : 3)), columns_(w.shape(flipped_ ? 3 : 0)) {
    const auto make = [&]() -> std::shared_ptr<void> {
      auto made = std::make_shared<Floats>(places * packed_size(depth_, columns_), MemoryUse::tensor);
      const float* const from = w.data<float>();
      parallel_for(depth_, 8, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) transform_row(made->data(), from, w.shape(3), k);
      });
      return made;
    };
    const auto offset = uint64_t(w.byte_offset());  // the data itself may be gone
    held_ = w.storage()->derived_if_reused(offset * 8 + 4 + uint64_t(use), make);
  }
  PackedMatrix at(int64_t place) const {
    return {static_cast<Floats*>(held_.get())->data() + place * packed_size(depth_, columns_), depth_, columns_};
  }
  int64_t columns() const { return columns_; }

 private:
  // The filters from channel k to every other.
  void transform_row(float* to, const float* from, int64_t in, int64_t k) const {
    const int64_t size = packed_size(depth_, columns_);
    for (int64_t column = 0; column < round_up(columns_, panel_width); ++column) {
      float* line = to + (column / panel_width * depth_ + k) * panel_width + column % panel_width;
      if (column >= columns_) {
        for (int64_t place = 0; place < places; ++place) line[place * size] = 0;
        continue;
      }
      double g[3][3], half[6][3];
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
          g[a][b] = flipped_ ? from[(k * 9 + (2 - a) * 3 + 2 - b) * in + column] : from[(column * 9 + a * 3 + b) * in + k];
      for (int i = 0; i < 6; ++i)
        for (int b = 0; b < 3; ++b) half[i][b] = filter[i][0] * g[0][b] + filter[i][1] * g[1][b] + filter[i][2] * g[2][b];
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j)
          line[(i * 6 + j) * size] = float(half[i][0] * filter[j][0] + half[i][1] * filter[j][1] + half[i][2] * filter[j][2]);
    }
  }
  bool flipped_;
  int64_t depth_, columns_;
  std::shared_ptr<void> held_;
};

// The 4 x 4 results of a tile for the channels j .. of a vector.
inline void results(const Transformed& products, int64_t tile, int64_t j, Vec (&y)[4][4]) {
  Vec half[6][4];
  for (int i = 0; i < 6; ++i) {
    Vec m[6];
#pragma GCC unroll 6
    for (int k = 0; k < 6; ++k) m[k] = load(products.at(i * 6 + k, tile) + j);
    transform_output(m, half[i]);
  }
  for (int column = 0; column < 4; ++column) {
    Vec m[6], line[4];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) m[i] = half[i][column];
    transform_output(m, line);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) y[i][column] = line[i];
  }
}

// A map that results are written to, or read from.
struct Map {
  explicit Map(const Tensor& t)
      : data(t ? t.data<float>() : nullptr),
        pitch(t ? t.pitch() : 0),
        height(t ? t.shape(1) : 0),
        width(t ? t.shape(2) : 0),
        channels(t ? t.shape(3) : 0) {}
  float* pixel(int64_t n, int64_t row, int64_t column) const { return data + ((n * height + row) * width + column) * pitch; }
  float* data;
  int64_t pitch, height, width, channels;
};

void finish_tile(const Map& y, const Map& residual, const Transformed& products, int64_t tile, const Tiles::Place& p,
                 const float* bias, float slope) {
  const int64_t height = std::min<int64_t>(4, y.height - p.top), width = std::min<int64_t>(4, y.width - p.left);
  for (int64_t j = 0; j < y.channels; j += lanes) {
    Vec out[4][4];
    results(products, tile, j, out);
    const Vec add = load(bias + j);
    const int64_t count = y.channels - j;
    for (int64_t r = 0; r < height; ++r) {
      float* to = y.pixel(p.n, p.top + r, p.left) + j;
      const float* from = residual.data ? residual.pixel(p.n, p.top + r, p.left) + j : nullptr;
      for (int64_t c = 0; c < width; ++c, to += y.pitch) {
        Vec v = out[r][c] + add;
        v = v > Vec{} ? v : v * slope;
        if (from) v += load_first(from + c * residual.pitch, count);
        store_first(to, v, count);
      }
    }
  }
}

// Sums of 2 x 2 results, to the 2 x 2 pixels of dx that the tile covers.
void finish_tile_halved(const Map& dx, const Transformed& products, int64_t tile, const Tiles::Place& p) {
  const int64_t top = p.top / 2, left = p.left / 2;
  for (int64_t j = 0; j < dx.channels; j += lanes) {
    Vec out[4][4];
    results(products, tile, j, out);
    for (int64_t r = 0; r < 2 && top + r < dx.height; ++r)
      for (int64_t c = 0; c < 2 && left + c < dx.width; ++c) {
        const Vec v = (out[2 * r][2 * c] + out[2 * r][2 * c + 1]) + (out[2 * r + 1][2 * c] + out[2 * r + 1][2 * c + 1]);
        store_first(dx.pixel(p.n, top + r, left + c) + j, v, dx.channels - j);
      }
  }
}

// Transforms, multiplies and calls finish(products, tile within the block, place) for every tile.
template <class Finish> void run(const Taps& taps, const Filters& filters, Finish&& finish) {
  constexpr int64_t block = 48;
  const Tiles tiles(taps.n, taps.rows, taps.columns);
  const std::vector<float> zeros(static_cast<size_t>(taps.c));
  parallel_for(tiles.count, block, [&](int64_t begin, int64_t end) {
    const Transformed pixels(block, taps.c), products(block, filters.columns());
    transform_block(pixels, taps, tiles, begin, end, zeros.data());
    for (int64_t place = 0; place < places; ++place)
      multiply(products.at(place, 0), products.pitch, end - begin, pixels.rows(place), filters.at(place));
    for (int64_t tile = begin; tile < end; ++tile) finish(products, tile - begin, tiles.place(tile));
  });
}

}  // namespace

bool fits(const Taps& t, bool kink) {
  return t.kh == 3 && t.kw == 3 && t.stride == 1 && t.apart == 1 && t.c >= least_channels &&
         Tiles(t.n, t.rows, t.columns).count >= (kink ? least_tiles_with_kink : least_tiles);
}

void forward(const Tensor& y, const Taps& taps, const Tensor& w, WeightUse use, const ConvFinish& f) {
  const Filters filters(w, use);
  std::vector<float> bias(size_t(round_up(y.shape(3), lanes)));
  if (f.bias) std::copy_n(f.bias, y.shape(3), bias.begin());
  const Map to(y), residual(f.residual);
  run(taps, filters, [&](const Transformed& products, int64_t tile, const Tiles::Place& place) {
    finish_tile(to, residual, products, tile, place, bias.data(), f.leaky ? f.slope : 1);
  });
}

void forward_halved(const Tensor& dx, const Taps& taps, const Tensor& w, WeightUse use) {
  const Map to(dx);
  run(taps, Filters(w, use), [&](const Transformed& products, int64_t tile, const Tiles::Place& place) {
    finish_tile_halved(to, products, tile, place);
  });
}

namespace {

void transform_gradient_tile(const Transformed& out, int64_t tile, const Map& dy, const Tiles::Place& p, const float* zeros) {
  Pixels<4> pixels;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int64_t row = p.top + i, column = p.left + j;
      pixels.at[i][j] = row < dy.height && column < dy.width ? dy.pixel(p.n, row, column) : zeros;
    }
  const int64_t channels = dy.channels;
  const auto transform = [&](const Pixels<4>& from, int64_t j, int64_t to) {
    Vec half[6][4];
    for (int column = 0; column < 4; ++column) {
      Vec line[4], z[6];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) line[i] = load(from.at[i][column] + j);
      transform_gradient(line, z);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) half[i][column] = z[i];
    }
    for (int i = 0; i < 6; ++i) {
      Vec z[6];
      transform_gradient(half[i], z);
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) store(out.at(i * 6 + k, tile) + to, z[k]);
    }
  };
  if (channels >= lanes) return for_each_vector(channels, [&](int64_t j) { transform(pixels, j, j); });
  float padded[16][lanes] = {};  // few channels: copied into whole vectors
  for (int k = 0; k < 16; ++k) {
    std::copy_n(pixels.at[k / 4][k % 4], channels, padded[k]);
    pixels.at[k / 4][k % 4] = padded[k];
  }
  transform(pixels, 0, 0);
}

}  // namespace

void backward_weight(const Tensor& dw, const Tensor& dy, const Taps& taps) {
  constexpr int64_t block = 96;
  const int64_t out = dw.shape(0), in = taps.c, pitch = round_up(in, lanes), size = places * out * pitch;
  const Tiles tiles(taps.n, taps.rows, taps.columns);
  const Groups groups(tiles.count, block, 256, 16);
  const Tensor shares = Tensor::zeros({groups.count * size + panel_width});
  float *const sums = shares.data<float>(), *const to = dw.data<float>();
  const std::vector<float> zeros(size_t(std::max(in, out)));
  const Map gradient(dy);
  groups.for_each_block([&](int64_t group, int64_t begin, int64_t end) {
    const Transformed pixels(block, in), gradients(block, out);
    transform_block(pixels, taps, tiles, begin, end, zeros.data());
    for (int64_t tile = begin; tile < end; ++tile)
      transform_gradient_tile(gradients, tile - begin, gradient, tiles.place(tile), zeros.data());
    for (int64_t place = 0; place < places; ++place)
      multiply(sums + group * size + place * out * pitch, pitch, out, in, end - begin, gradients.columns(place),
               {pixels.at(place, 0), pixels.pitch}, Into::add);
  });
  // dg = G^T (sum of the groups) G
  parallel_for(out, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> u(static_cast<size_t>(places * in)), half(static_cast<size_t>(18 * in)), sum(static_cast<size_t>(in));
    const auto add = [in](double* line, double factor, const auto* from) {
      if (factor == 0) return;
#pragma omp simd
      for (int64_t i = 0; i < in; ++i) line[i] += factor * double(from[i]);
    };
    for (int64_t o = begin; o < end; ++o) {
      std::ranges::fill(u, 0.0), std::ranges::fill(half, 0.0);
      for (int64_t group = 0; group < groups.count; ++group)
        for (int64_t place = 0; place < places; ++place)
          add(&u[size_t(place * in)], 1, sums + group * size + (place * out + o) * pitch);
      for (int a = 0; a < 3; ++a)
        for (int k = 0; k < 6; ++k)
          for (int r = 0; r < 6; ++r) add(&half[size_t((a * 6 + k) * in)], filter[r][a], &u[size_t((r * 6 + k) * in)]);
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) {
          std::ranges::fill(sum, 0.0);
          for (int k = 0; k < 6; ++k) add(sum.data(), filter[k][b], &half[size_t((a * 6 + k) * in)]);
          std::ranges::copy(sum, to + (o * 9 + a * 3 + b) * in);
        }
    }
  });
}

}  // namespace relume::cpu::winograd
