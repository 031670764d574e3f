// GroupNorm with the activation behind it, in phases: blocks sum up their pixels, then the sums of a group are joined in a
// fixed order, then blocks write their pixels. Memory is read once for the sums and once for the result.
#include "tensor/kernels/norm.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/row_sums.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

using kernels::GroupNormOptions;

constexpr int norm_threads = 256, norm_warps = norm_threads / warp_size;
constexpr int widest_strip = 64;       // packs
constexpr int64_t most_chunks = 512;   // of a sample: some blocks for every multiprocessor, few sums to join
constexpr int fewest_pixels_each = 4;  // of a thread, where a map has as many

// How blocks share maps [samples, pixels, channels]: each takes a chunk of a sample's pixels and a strip of its channels. Its
// threads stand side by side over the packs of the strip, and one above the other over the pixels. The shape alone decides.
struct Tiling {
  Tiling(const Tensor& x, int groups_, int pack)
      : pixels(x.rows() / x.shape(0)), channels(int(columns_of(x))), groups(groups_), in_group(channels / groups) {
    const int packs = channels / pack;
    strips = (packs + widest_strip - 1) / widest_strip;
    width = (packs + strips - 1) / strips;
    height = norm_threads / width;
    strip_channels = width * pack;
    pixels_each = std::min(pixels, std::max<int64_t>((pixels + most_chunks - 1) / most_chunks, fewest_pixels_each * height));
    chunks = (pixels + pixels_each - 1) / pixels_each;
  }
  dim3 grid(const Tensor& x) const { return dim3(unsigned(x.shape(0) * chunks), unsigned(strips)); }
  int64_t parts() const { return chunks * strips_of_group(); }  // of a group, at most
  // Strips that a group touches, at most.
  __host__ __device__ int strips_of_group() const {
    return strip_channels % in_group == 0 ? 1 : (in_group + strip_channels - 2) / strip_channels + 1;
  }
  __host__ __device__ int64_t pixels_of(int64_t chunk) const { return std::min(pixels_each, pixels - chunk * pixels_each); }
  // The channels of a group that lie in a strip: [begin, end).
  __host__ __device__ int begin_of(int group, int strip) const { return std::max(group * in_group, strip * strip_channels); }
  __host__ __device__ int end_of(int group, int strip) const {
    return std::min((group + 1) * in_group, (strip + 1) * strip_channels);
  }

  int64_t pixels;
  int channels, groups, in_group;
  int strips, width, height, strip_channels;  // width in packs
  int64_t pixels_each, chunks;
};

// The second phase takes the chunks from the last to the first: the ends of large maps are still in the cache.
enum class Order { first_to_last, last_to_first };

// What falls to a thread: N channels of every `step`th row from `top + above` on.
template <int N> struct Share {
  __device__ Share(const Tiling& t, Order order)
      : item(order == Order::first_to_last ? blockIdx.x : gridDim.x - 1 - blockIdx.x),
        sample(item / t.chunks),
        chunk(item - sample * t.chunks),
        across(int(threadIdx.x) % t.width),
        above(int(threadIdx.x) / t.width),
        column((int(blockIdx.y) * t.width + across) * N),
        top(sample * t.pixels + chunk * t.pixels_each),
        end(top + t.pixels_of(chunk)),
        step(t.height),
        active(above < t.height && column < t.channels) {}
  template <class F> __device__ void for_each_row(F&& f) const {
    for (int64_t row = top + above; row < end; row += step) f(row);
  }
  template <class T> __device__ Pack<T, N> load(const Rows<T>& x, int64_t row) const {
    return *reinterpret_cast<const Pack<T, N>*>(x.at(row, column));
  }
  int64_t item, sample, chunk;
  int across, above, column;
  int64_t top, end;
  int step;
  bool active;
};

// A pair of sums for every channel of every thread, so that one warp or thread can add up those of others.
template <int N> struct SharedSums { float at[2][N][norm_threads]; };
template <int N>
__device__ inline float shared_sum(const SharedSums<N>& sums, const Tiling& t, int which, int channel, int row) {
  return sums.at[which][channel % N][row * t.width + channel / N];
}
template <int N> __device__ inline void exchange_sums(SharedSums<N>& sums, const float (&first)[N], const float (&second)[N]) {
  RELUME_UNROLL
  for (int k = 0; k < N; ++k) sums.at[0][k][threadIdx.x] = first[k], sums.at[1][k][threadIdx.x] = second[k];
  sync_block();
}

struct Moments {
  double mean, deviations;  // and the sum of the squared differences to it
};

// partial [samples, groups, chunks, strips of a group]: the moments of each group in this chunk and strip. What is summed are
// differences to one of the numbers: a mean far from zero costs no accuracy.
template <class T, int N> static __global__ void partial_moments(Tiling t, Moments* partial, Rows<T> x) {
  RELUME_SHARED(shared, SharedSums<N>);
  const Share<N> mine(t, Order::first_to_last);
  float sums[N] = {}, squares[N] = {}, centre[N];
  if (mine.active) {
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) centre[k] = get(*x.at(mine.top, (mine.column + k) / t.in_group * t.in_group));
    mine.for_each_row([&](int64_t row) {
      const Pack<T, N> pack = mine.load(x, row);
      RELUME_UNROLL
      for (int k = 0; k < N; ++k) {
        const float difference = get(pack.at[k]) - centre[k];
        sums[k] += difference;
        squares[k] = math::fma(difference, difference, squares[k]);
      }
    });
  }
  exchange_sums(shared, sums, squares);
  const int strip = int(blockIdx.y), lane = int(threadIdx.x) % warp_size, start = strip * t.strip_channels;
  const int last = (std::min(t.channels, start + t.strip_channels) - 1) / t.in_group;
  for (int group = start / t.in_group + int(threadIdx.x) / warp_size; group <= last; group += norm_warps) {
    const int begin = t.begin_of(group, strip), columns = t.end_of(group, strip) - begin;
    float sum = 0, square = 0;
    for (int i = lane; i < columns * t.height; i += warp_size) {
      const int row = i / columns, channel = begin - start + i - row * columns;
      sum += shared_sum(shared, t, 0, channel, row), square += shared_sum(shared, t, 1, channel, row);
    }
    sum = warp_sum(sum), square = warp_sum(square);
    if (lane != 0) continue;
    const double count = double(t.pixels_of(mine.chunk) * columns), off = double(sum) / count;
    const int slot = strip - group * t.in_group / t.strip_channels;
    partial[((mine.sample * t.groups + group) * t.chunks + mine.chunk) * t.strips_of_group() + slot] = {
        double(get(*x.at(mine.top, group * t.in_group))) + off, double(square) - double(sum) * off};
  }
}

// A warp for each group of each sample. stats [samples, groups, 2]; rest [samples, groups]: what the mean lacks in float, times
// rstd.
static __global__ void join_moments(Tiling t, float* stats, float* rest, const Moments* partial, double eps) {
  const int64_t item = blockIdx.x;
  const int group = int(item % t.groups), strips = t.strips_of_group(), first = group * t.in_group / t.strip_channels;
  const auto sum_of_parts = [&](auto&& f) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < t.chunks * strips; i += warp_size) {
      const int strip = first + int(i % strips), columns = t.end_of(group, strip) - t.begin_of(group, strip);
      if (columns > 0) sum += f(double(t.pixels_of(i / strips) * columns), partial[item * t.chunks * strips + i]);
    }
    return warp_sum(sum);
  };
  const double count = double(t.pixels * t.in_group);
  const double mean = sum_of_parts([](double n, const Moments& part) { return n * part.mean; }) / count;
  const double deviations = sum_of_parts(
      [mean](double n, const Moments& part) { return part.deviations + n * (part.mean - mean) * (part.mean - mean); });
  const double rstd = 1 / math::sqrt(std::max(0.0, deviations) / count + eps);
  if (threadIdx.x != 0) return;
  stats[2 * item] = float(mean), stats[2 * item + 1] = float(rstd);
  rest[item] = float((mean - double(float(mean))) * rstd);
}

// How this thread's channels are normalised: fma(x - centre, scale, shift) stands before the activation. `rest` may be null.
template <int N> struct Normal {
  template <class T> __device__ Normal(const Tiling& t, const Share<N>& mine, const float* stats, const float* rest,
                                       const T* weight, const T* bias) {
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) {
      const int channel = mine.column + k;
      const int64_t group = mine.sample * t.groups + channel / t.in_group;
      const float w = get(weight[channel]);
      centre[k] = stats[2 * group];
      scale[k] = stats[2 * group + 1] * w;
      shift[k] = rest ? math::fma(-rest[group], w, get(bias[channel])) : get(bias[channel]);
    }
  }
  __device__ float off(int k, float x) const { return x - centre[k]; }
  __device__ float before(int k, float off) const { return math::fma(off, scale[k], shift[k]); }
  float centre[N], scale[N], shift[N];
};

template <class T, int N, class Act> static __global__ void normalise_groups(Tiling t, Rows<T> y, Rows<T> x, const float* stats,
                                                                             const float* rest, const T* weight, const T* bias,
                                                                             Act act) {
  const Share<N> mine(t, Order::last_to_first);
  if (!mine.active) return;
  const Normal<N> normal(t, mine, stats, rest, weight, bias);
  mine.for_each_row([&](int64_t row) {
    Pack<T, N> pack = mine.load(x, row);
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) put(pack.at[k], act.value(normal.before(k, normal.off(k, get(pack.at[k])))));
    *reinterpret_cast<Pack<T, N>*>(y.at(row, mine.column)) = pack;
  });
}

// partial [samples, chunks, 2, channels]: what the pixels of a chunk give for the bias, and for the weight before it is scaled
// by rstd.
template <class T, int N, class Act> static __global__ void partial_gradients(Tiling t, float* partial, Rows<T> dy, Rows<T> x,
                                                                              const float* stats, const T* weight,
                                                                              const T* bias, Act act) {
  RELUME_SHARED(shared, SharedSums<N>);
  const Share<N> mine(t, Order::first_to_last);
  float sums[N] = {}, products[N] = {};
  if (mine.active) {
    const Normal<N> normal(t, mine, stats, nullptr, weight, bias);
    mine.for_each_row([&](int64_t row) {
      const Pack<T, N> pack = mine.load(x, row), gradients = mine.load(dy, row);
      RELUME_UNROLL
      for (int k = 0; k < N; ++k) {
        const float off = normal.off(k, get(pack.at[k])), dz = get(gradients.at[k]) * act.slope(normal.before(k, off));
        sums[k] += dz;
        products[k] = math::fma(dz, off, products[k]);
      }
    });
  }
  exchange_sums(shared, sums, products);
  const int start = int(blockIdx.y) * t.strip_channels, columns = std::min(t.strip_channels, t.channels - start);
  for (int i = threadIdx.x; i < 2 * columns; i += norm_threads) {
    const int which = i / columns, channel = i - which * columns;
    float total = shared_sum(shared, t, which, channel, 0);
    for (int row = 1; row < t.height; ++row) total += shared_sum(shared, t, which, channel, row);
    partial[(mine.item * 2 + which) * t.channels + start + channel] = total;
  }
}

constexpr int join_lanes = 8;

// A block for each group of each sample; a warp's lanes take neighbouring channels. sums [samples, 2, channels]: a sample's
// share of dbias and dweight. lines [samples, groups, 2]: the slope and level of dx = scale dz + slope (x - mean) + level,
// which is rstd (g - mean(g) - xhat mean(g xhat)) with g = dz weight.
template <class T> static __global__ void join_gradients(Tiling t, float* sums, float* lines, const float* partial,
                                                         const float* stats, const T* weight) {
  RELUME_SHARED(lane_sums, double[2][join_lanes][warp_size]);
  const int64_t item = blockIdx.x, sample = item / t.groups;
  const int begin = int(item - sample * t.groups) * t.in_group, end = begin + t.in_group;
  const double rstd = double(stats[2 * item + 1]);
  double sum = 0, product = 0;
  for (int first = begin; first < end; first += warp_size) {
    const int channel = first + int(threadIdx.x);
    double db = 0, dw = 0;
    if (channel < end)
      for (int64_t chunk = threadIdx.y; chunk < t.chunks; chunk += join_lanes) {
        const float* const from = partial + (sample * t.chunks + chunk) * 2 * t.channels + channel;
        db += double(from[0]), dw += double(from[t.channels]);
      }
    sync_block();  // the sums before may still be read
    lane_sums[0][threadIdx.y][threadIdx.x] = db, lane_sums[1][threadIdx.y][threadIdx.x] = dw;
    sync_block();
    if (threadIdx.y != 0 || channel >= end) continue;
    for (int lane = 1; lane < join_lanes; ++lane) db += lane_sums[0][lane][threadIdx.x], dw += lane_sums[1][lane][threadIdx.x];
    dw *= rstd;
    sums[sample * 2 * t.channels + channel] = float(db), sums[(sample * 2 + 1) * t.channels + channel] = float(dw);
    sum += db * double(get(weight[channel])), product += dw * double(get(weight[channel]));
  }
  if (threadIdx.y != 0) return;
  sum = warp_sum(sum), product = warp_sum(product);
  if (threadIdx.x != 0) return;
  const double count = double(t.pixels * t.in_group);
  lines[2 * item] = float(-rstd * rstd * product / count), lines[2 * item + 1] = float(-rstd * sum / count);
}

template <class T, int N, class Act>
static __global__ void normalise_groups_backward(Tiling t, Rows<T> dx, Rows<T> dy, Rows<T> x, const float* stats,
                                                 const float* lines, const T* weight, const T* bias, Act act) {
  const Share<N> mine(t, Order::last_to_first);
  if (!mine.active) return;
  const Normal<N> normal(t, mine, stats, nullptr, weight, bias);
  float slope[N], level[N];
  RELUME_UNROLL
  for (int k = 0; k < N; ++k) {
    const int64_t group = mine.sample * t.groups + (mine.column + k) / t.in_group;
    slope[k] = lines[2 * group], level[k] = lines[2 * group + 1];
  }
  mine.for_each_row([&](int64_t row) {
    Pack<T, N> pack = mine.load(x, row);
    const Pack<T, N> gradients = mine.load(dy, row);
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) {
      const float off = normal.off(k, get(pack.at[k])), dz = get(gradients.at[k]) * act.slope(normal.before(k, off));
      put(pack.at[k], math::fma(normal.scale[k], dz, math::fma(off, slope[k], level[k])));
    }
    *reinterpret_cast<Pack<T, N>*>(dx.at(row, mine.column)) = pack;
  });
}

// Memory for a kernel while it runs.
template <class T> class Scratch {
 public:
  Scratch(Device device, int64_t count) : storage_(device, count * int64_t(sizeof(T)), MemoryUse::scratch) {}
  T* data() const { return static_cast<T*>(storage_.data()); }

 private:
  Storage storage_;
};

// `rest` may be null.
template <class T, int N> void normalise(const char* name, const Tensor& y, const Tensor& x, const float* stats,
                                         const float* rest, const Tensor& weight, const Tensor& bias,
                                         const GroupNormOptions& options) {
  const Tiling t(x, options.groups, N);
  visit_activation(options.act, [&]<class Act>(Act act) {
    launch(name, normalise_groups<T, N, Act>, t.grid(x), norm_threads, 0, stream(x.device()), t, Rows<T>(y), Rows<T>(x), stats,
           rest, weight.data<T>(), bias.data<T>(), act);
  });
}

template <class T, int N> void forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight,
                                       const Tensor& bias, const GroupNormOptions& options) {
  constexpr const char* name = "group_norm_forward";
  const Device device = x.device();
  const Tiling t(x, options.groups, N);
  const int64_t groups = x.shape(0) * options.groups;
  const Scratch<Moments> partial(device, groups * t.parts());
  const Scratch<float> rest(device, groups), own_stats(device, stats ? 0 : 2 * groups);
  float* const found = stats ? stats.data<float>() : own_stats.data();
  launch(name, partial_moments<T, N>, t.grid(x), norm_threads, 0, stream(device), t, partial.data(), Rows<T>(x));
  launch(name, join_moments, dim3(unsigned(groups)), warp_size, 0, stream(device), t, found, rest.data(), partial.data(),
         options.eps);
  if (y) normalise<T, N>(name, y, x, found, rest.data(), weight, bias, options);
}

template <class T, int N> void backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy,
                                        const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                                        const GroupNormOptions& options) {
  constexpr const char* name = "group_norm_backward";
  const Device device = x.device();
  const Tiling t(x, options.groups, N);
  const int64_t samples = x.shape(0), groups = samples * options.groups, both = 2 * int64_t(t.channels);
  const Scratch<float> partial(device, samples * t.chunks * both), sums(device, samples * both), lines(device, 2 * groups);
  visit_activation(options.act, [&]<class Act>(Act act) {
    launch(name, partial_gradients<T, N, Act>, t.grid(x), norm_threads, 0, stream(device), t, partial.data(), Rows<T>(dy),
           Rows<T>(x), stats.data<float>(), weight.data<T>(), bias.data<T>(), act);
    launch(name, join_gradients<T>, dim3(unsigned(groups)), dim3(warp_size, join_lanes), 0, stream(device), t, sums.data(),
           lines.data(), partial.data(), stats.data<float>(), weight.data<T>());
    if (dx)
      launch(name, normalise_groups_backward<T, N, Act>, t.grid(x), norm_threads, 0, stream(device), t, Rows<T>(dx),
             Rows<T>(dy), Rows<T>(x), stats.data<float>(), lines.data(), weight.data<T>(), bias.data<T>(), act);
  });
  if (dbias) total_of_chunks<T>(name, dbias, samples, sums.data(), both);
  if (dweight) total_of_chunks<T>(name, dweight, samples, sums.data() + t.channels, both);
}

// Calls f with the number of neighbouring channels that all the maps let a thread take at once.
template <class T, class F, class... Maps> void with_pack(F&& f, const Maps&... maps) {
  constexpr int N = pack_size<T>;
  const bool packed = ((!maps || (columns_of(maps) % N == 0 && packs_fit<T, N>(maps, false))) && ...);
  packed ? f(std::integral_constant<int, N>{}) : f(std::integral_constant<int, 1>{});
}

void group_norm_forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const GroupNormOptions& options) {
  visit_float("group_norm_forward", x, [&]<class T>() {
    with_pack<T>([&](auto pack) { forward<T, decltype(pack)::value>(y, stats, x, weight, bias, options); }, y, x);
  });
}

void group_norm_apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                      const GroupNormOptions& options) {
  visit_float("group_norm_apply", x, [&]<class T>() {
    with_pack<T>(
        [&](auto pack) {
          normalise<T, decltype(pack)::value>("group_norm_apply", y, x, stats.data<float>(), nullptr, weight, bias, options);
        },
        y, x);
  });
}

void group_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options) {
  visit_float("group_norm_backward", x, [&]<class T>() {
    with_pack<T>(
        [&](auto pack) { backward<T, decltype(pack)::value>(dx, dweight, dbias, dy, x, stats, weight, bias, options); }, dx, dy,
        x);
  });
}

}  // namespace

void register_group_norm_kernels() {
  kernels::group_norm_forward.set(DeviceKind::cuda, group_norm_forward);
  kernels::group_norm_apply.set(DeviceKind::cuda, group_norm_apply);
  kernels::group_norm_backward.set(DeviceKind::cuda, group_norm_backward);
}

}  // namespace relume::cuda
