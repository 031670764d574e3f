// Tiles of 4 x 4 results are computed from 6 x 6 pixels, with stride 2 from 9 x 9: each is transformed, multiplied over the
// channels at as many places, and transformed back. A block of tiles goes through all three while it is in the cache.
#include "tensor/cpu/conv.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "tensor/cpu/winograd_schemes.h"

namespace relume::cpu::winograd {
namespace {

constexpr int64_t least_channels = 16, least_tiles = 64, least_tiles_with_kink = 4096;
constexpr int64_t many_channels = 512, least_tiles_of_many_channels = 16;

template <class Scheme> constexpr int64_t places = int64_t(Scheme::pixels) * Scheme::pixels;

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
// places: the numbers of one pixel must not fall into one set of the first-level cache.
template <class Scheme> struct Transformed {
  Transformed(int64_t tiles, int64_t channels)
      : pitch(round_up(channels, lanes)), place_step(tiles * pitch + 16), data(places<Scheme> * place_step) {}
  float* at(int64_t place, int64_t tile) const { return data.data() + place * place_step + tile * pitch; }
  LeftFactor rows(int64_t place) const { return {at(place, 0), pitch, 1}; }
  LeftFactor columns(int64_t place) const { return {at(place, 0), 1, pitch}; }
  int64_t pitch, place_step;
  Floats data;
};

// Where the pixels of one tile lie: rows and columns of pointers, to `zeros` outside.
template <int size> struct Pixels { const float* at[size][size]; };

template <class Scheme> Pixels<Scheme::pixels> source_pixels(const Taps& t, const Tiles::Place& p, const float* zeros) {
  constexpr int n = Scheme::pixels;
  Pixels<n> pixels;
  int64_t columns[n];
  for (int j = 0; j < n; ++j) columns[j] = t.source_column(p.left * Scheme::stride + j - t.left);
  for (int i = 0; i < n; ++i) {
    const int64_t row = t.source_row(p.top * Scheme::stride + i - t.top);
    for (int j = 0; j < n; ++j) pixels.at[i][j] = row < 0 || columns[j] < 0 ? zeros : t.pixel(p.n, row, columns[j]);
  }
  return pixels;
}

template <class Scheme>
void transform_tile(const Transformed<Scheme>& out, int64_t tile, const Pixels<Scheme::pixels>& pixels, int64_t channels) {
  constexpr int n = Scheme::pixels;
  for_each_vector(channels, [&](int64_t j) {
    Vec x[n][n];
    for (int column = 0; column < n; ++column) {
      Vec line[n];
#pragma GCC unroll 9
      for (int i = 0; i < n; ++i) line[i] = load(pixels.at[i][column] + j);
      Scheme::transform_input(line);
#pragma GCC unroll 9
      for (int i = 0; i < n; ++i) x[i][column] = line[i];
    }
    for (int i = 0; i < n; ++i) {
      Scheme::transform_input(x[i]);
#pragma GCC unroll 9
      for (int k = 0; k < n; ++k) store(out.at(i * n + k, tile) + j, x[i][k]);
    }
  });
  if (channels % lanes == 0) return;
  for (int64_t place = 0; place < places<Scheme>; ++place)
    std::fill(out.at(place, tile) + channels, out.at(place, tile) + out.pitch, 0.f);
}

template <class Scheme> void transform_block(const Transformed<Scheme>& out, const Taps& taps, const Tiles& tiles,
                                             int64_t begin, int64_t end, const float* zeros) {
  for (int64_t tile = begin; tile < end; ++tile)
    transform_tile(out, tile - begin, source_pixels<Scheme>(taps, tiles.place(tile), zeros), taps.c);
}

// G g G^T of output channels, matrices of panels, made of packed weights. A cache line lies between them, as with Transformed.
template <class Scheme> class Filters {
 public:
  Filters(int64_t depth, int64_t columns) : depth_(depth), step_(size_of_one(depth, columns)), data_(count * step_) {}
  static int64_t bytes(int64_t depth, int64_t columns) { return count * size_of_one(depth, columns) * int64_t(sizeof(float)); }

  // Of a block of weights with depth (taps, depth), whose first column is `first` here, a multiple of panel_width.
  void make(const PackedMatrix& weight, int64_t first) {
    const int64_t panel_size = weight.depth * panel_width;
    for (int64_t panel = 0; panel * panel_width < weight.columns; ++panel)
      for (int64_t k = 0; k < depth_; ++k) {
        const float* const from = weight.data + panel * panel_size + k * panel_width;
        float* const to = data_.data() + first * depth_ + (panel * depth_ + k) * panel_width;
        transform(to, from), transform(to + lanes, from + lanes);
      }
  }
  RightFactor at(int place, int64_t first) const {
    const int row = Scheme::filter_of(place / Scheme::pixels), column = Scheme::filter_of(place % Scheme::pixels);
    return {data_.data() + (row * Scheme::filters + column) * step_ + first * depth_, panel_width, depth_ * panel_width};
  }

 private:
  static constexpr int64_t count = Scheme::filters * Scheme::filters;
  void transform(float* to, const float* from) const {
    const int64_t tap_step = depth_ * panel_width;
    constexpr int n = Scheme::filters;
    Vec half[n][3];
    for (int b = 0; b < 3; ++b) {
      Vec g[3], u[n];
#pragma GCC unroll 3
      for (int a = 0; a < 3; ++a) g[a] = load(from + (a * 3 + b) * tap_step);
      Scheme::transform_filter(g, u);
#pragma GCC unroll 6
      for (int i = 0; i < n; ++i) half[i][b] = u[i];
    }
    for (int i = 0; i < n; ++i) {
      Vec u[n];
      Scheme::transform_filter(half[i], u);
#pragma GCC unroll 6
      for (int j = 0; j < n; ++j) store(to + (i * n + j) * step_, u[j]);
    }
  }
  static int64_t size_of_one(int64_t depth, int64_t columns) { return depth * round_up(columns, panel_width) + 16; }
  int64_t depth_, step_;
  Floats data_;
};

// The 4 x 4 results of a tile for the channels j .. of a vector.
template <class Scheme> inline void results(const Transformed<Scheme>& products, int64_t tile, int64_t j, Vec (&y)[4][4]) {
  constexpr int n = Scheme::pixels;
  Vec half[n][4];
  for (int i = 0; i < n; ++i) {
    Vec m[n];
#pragma GCC unroll 9
    for (int k = 0; k < n; ++k) m[k] = load(products.at(i * n + k, tile) + j);
    Scheme::transform_output(m, half[i]);
  }
  for (int column = 0; column < 4; ++column) {
    Vec m[n], line[4];
#pragma GCC unroll 9
    for (int i = 0; i < n; ++i) m[i] = half[i][column];
    Scheme::transform_output(m, line);
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

// The channels of a result that are worked on together.
struct Channels {
  int64_t begin, end;
};

template <class Scheme> void finish_tile(const Map& y, const Map& residual, const Transformed<Scheme>& products, int64_t tile,
                                         const Tiles::Place& p, const Channels& channels, const float* bias, float slope) {
  const int64_t height = std::min<int64_t>(4, y.height - p.top), width = std::min<int64_t>(4, y.width - p.left);
  for (int64_t j = channels.begin; j < channels.end; j += lanes) {
    Vec out[4][4];
    results(products, tile, j - channels.begin, out);
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
void finish_tile_halved(const Map& dx, const Transformed<EveryPixel>& products, int64_t tile, const Tiles::Place& p,
                        const Channels& channels) {
  const int64_t top = p.top / 2, left = p.left / 2;
  for (int64_t j = channels.begin; j < channels.end; j += lanes) {
    Vec out[4][4];
    results(products, tile, j - channels.begin, out);
    for (int64_t r = 0; r < 2 && top + r < dx.height; ++r)
      for (int64_t c = 0; c < 2 && left + c < dx.width; ++c) {
        const Vec v = (out[2 * r][2 * c] + out[2 * r][2 * c + 1]) + (out[2 * r + 1][2 * c] + out[2 * r + 1][2 * c + 1]);
        store_first(dx.pixel(p.n, top + r, left + c) + j, v, dx.channels - j);
      }
  }
}

constexpr int64_t channels_together = 32;

// The filters of all output channels, for many blocks of tiles; null where they are large: those of a whole network would take
// four times its weights' memory, and to read them from there takes longer than to make them anew for each block.
template <class Scheme>
std::unique_ptr<const Filters<Scheme>> filters_of_all(const WeightBlocks& weight, int64_t depth, int64_t blocks) {
  constexpr int64_t most_bytes = int64_t(12) << 20;
  const int64_t columns = weight.columns(), tasks = (columns + channels_together - 1) / channels_together;
  if (blocks < 2 * omp_get_max_threads() || Filters<Scheme>::bytes(depth, columns) > most_bytes) return nullptr;
  auto filters = std::make_unique<Filters<Scheme>>(depth, columns);
  parallel_for(tasks, 1, [&](int64_t task, int64_t) {
    const int64_t first = task * channels_together;
    const Floats packed(weight.scratch_size(channels_together));
    filters->make(weight.block(first, std::min(channels_together, columns - first), packed.data()), first);
  });
  return filters;
}

// Tiles of a block: few, whose transformed pixels stay near; where filters are made each time, as many as share that well,
// and as many blocks as threads where there are tiles enough. Results do not depend on it.
template <class Scheme> int64_t tiles_together(const WeightBlocks& weight, int64_t tiles, int64_t channels) {
  constexpr int64_t least = 48, most = 128, most_bytes = int64_t(12) << 20;
  if (!weight.is_packed_each_time()) return least;
  const int64_t fitting = most_bytes / (places<Scheme> * channels * int64_t(sizeof(float)));
  const int64_t threads = omp_get_max_threads(), wanted = std::clamp(fitting, least, most);
  const int64_t blocks = round_up((tiles + wanted - 1) / wanted, threads);
  return std::max(least, round_up((tiles + blocks - 1) / blocks, tile_rows));
}

// Transforms, multiplies and calls finish(products, tile within the block, place, channels) for every tile and each block of
// output channels. Threads share the tiles, and where those are few the channels.
template <class Scheme, class Finish> void run(const Taps& taps, const WeightBlocks& weight, Finish&& finish) {
  const int64_t columns = weight.columns();
  const Tiles tiles(taps.n, taps.rows, taps.columns);
  constexpr int64_t numbers_together = 3456;  // of a channel
  constexpr int64_t tiles_for_all = round_up(numbers_together / places<Scheme>, tile_rows);
  const auto of_all = filters_of_all<Scheme>(weight, taps.c, tiles.count / tiles_for_all);
  const int64_t block = of_all ? tiles_for_all : tiles_together<Scheme>(weight, tiles.count, taps.c);
  const int64_t blocks = (tiles.count + block - 1) / block;
  const int64_t parts = std::max<int64_t>(1, omp_get_max_threads() / blocks);
  const int64_t part_columns = round_up((columns + parts - 1) / parts, channels_together);
  const std::vector<float> zeros(static_cast<size_t>(taps.c));
  parallel_for(blocks * parts, 1, [&](int64_t task, int64_t) {
    const int64_t begin = task / parts * block, end = std::min(tiles.count, begin + block);
    const int64_t from = task % parts * part_columns, to = std::min(columns, from + part_columns);
    if (from >= to) return;
    const Transformed<Scheme> pixels(end - begin, taps.c), products(end - begin, std::min(columns, channels_together));
    const Floats packed(of_all ? 0 : weight.scratch_size(channels_together));
    Filters<Scheme> own(taps.c, of_all ? 0 : std::min(columns, channels_together));
    transform_block(pixels, taps, tiles, begin, end, zeros.data());
    for (int64_t first = from; first < to; first += channels_together) {
      const Channels channels{first, std::min(to, first + channels_together)};
      const int64_t count = channels.end - first;
      if (!of_all) own.make(weight.block(first, count, packed.data()), 0);
      for (int place = 0; place < places<Scheme>; ++place)
        multiply(products.at(place, 0), products.pitch, end - begin, count, taps.c, pixels.rows(place),
                 of_all ? of_all->at(place, first) : own.at(place, 0));
      for (int64_t tile = begin; tile < end; ++tile) finish(products, tile - begin, tiles.place(tile), channels);
    }
  });
}

}  // namespace

bool fits(const Taps& t, bool kink) {
  const bool fits_stride = t.stride == 1 || (t.stride == 2 && !kink);
  const int64_t of_channels = t.c >= many_channels && t.stride == 1 ? least_tiles_of_many_channels : least_tiles;
  const int64_t least = kink ? least_tiles_with_kink : of_channels;
  return t.kh == 3 && t.kw == 3 && fits_stride && t.apart == 1 && t.c >= least_channels &&
         Tiles(t.n, t.rows, t.columns).count >= least;
}

void forward(const Tensor& y, const Taps& taps, const Tensor& w, WeightUse use, const ConvFinish& f) {
  std::vector<float> bias(size_t(round_up(y.shape(3), lanes)));
  if (f.bias) std::copy_n(f.bias, y.shape(3), bias.begin());
  const Map to(y), residual(f.residual);
  const WeightBlocks weight(w, use);
  const auto finish = [&](const auto& products, int64_t tile, const Tiles::Place& place, const Channels& channels) {
    finish_tile(to, residual, products, tile, place, channels, bias.data(), f.leaky ? f.slope : 1);
  };
  taps.stride == 2 ? run<EverySecondPixel>(taps, weight, finish) : run<EveryPixel>(taps, weight, finish);
}

void forward_halved(const Tensor& dx, const Taps& taps, const Tensor& w, WeightUse use) {
  const Map to(dx);
  run<EveryPixel>(taps, WeightBlocks(w, use),
                  [&](const Transformed<EveryPixel>& products, int64_t tile, const Tiles::Place& place,
                      const Channels& channels) { finish_tile_halved(to, products, tile, place, channels); });
}

namespace {

void transform_gradient_tile(const Transformed<EveryPixel>& out, int64_t tile, const Map& dy, const Tiles::Place& p,
                             const float* zeros) {
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
      EveryPixel::transform_gradient(line, z);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) half[i][column] = z[i];
    }
    for (int i = 0; i < 6; ++i) {
      Vec z[6];
      EveryPixel::transform_gradient(half[i], z);
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
  const int64_t out = dw.shape(0), in = taps.c, pitch = round_up(in, lanes), size = places<EveryPixel> * out * pitch;
  const Tiles tiles(taps.n, taps.rows, taps.columns);
  const Groups groups(tiles.count, block, 256, 16);
  const Tensor shares = Tensor::zeros({groups.count * size + panel_width});
  float *const sums = shares.data<float>(), *const to = dw.data<float>();
  const std::vector<float> zeros(size_t(std::max(in, out)));
  const Map gradient(dy);
  groups.for_each_block([&](int64_t group, int64_t begin, int64_t end) {
    const Transformed<EveryPixel> pixels(block, in), gradients(block, out);
    transform_block(pixels, taps, tiles, begin, end, zeros.data());
    for (int64_t tile = begin; tile < end; ++tile)
      transform_gradient_tile(gradients, tile - begin, gradient, tiles.place(tile), zeros.data());
    for (int64_t place = 0; place < places<EveryPixel>; ++place)
      multiply(sums + group * size + place * out * pitch, pitch, out, in, end - begin, gradients.columns(place),
               {pixels.at(place, 0), pixels.pitch}, Into::add);
  });
  // dg = G^T (sum of the groups) G
  parallel_for(out, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> u(static_cast<size_t>(places<EveryPixel> * in)), half(static_cast<size_t>(18 * in)),
        sum(static_cast<size_t>(in));
    const auto add = [in](double* line, double factor, const auto* from) {
      if (factor == 0) return;
#pragma omp simd
      for (int64_t i = 0; i < in; ++i) line[i] += factor * double(from[i]);
    };
    for (int64_t o = begin; o < end; ++o) {
      std::ranges::fill(u, 0.0), std::ranges::fill(half, 0.0);
      for (int64_t group = 0; group < groups.count; ++group)
        for (int64_t place = 0; place < places<EveryPixel>; ++place)
          add(&u[size_t(place * in)], 1, sums + group * size + (place * out + o) * pitch);
      for (int a = 0; a < 3; ++a)
        for (int k = 0; k < 6; ++k)
          for (int r = 0; r < 6; ++r)
            add(&half[size_t((a * 6 + k) * in)], EveryPixel::filter[r][a], &u[size_t((r * 6 + k) * in)]);
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) {
          std::ranges::fill(sum, 0.0);
          for (int k = 0; k < 6; ++k) add(sum.data(), EveryPixel::filter[k][b], &half[size_t((a * 6 + k) * in)]);
          std::ranges::copy(sum, to + (o * 9 + a * 3 + b) * in);
        }
    }
  });
}

}  // namespace relume::cpu::winograd
