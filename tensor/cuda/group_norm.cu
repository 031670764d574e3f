// GroupNorm with the activation behind it, in phases: blocks sum up their pixels, then the sums of a group are joined in a
// fixed order, then blocks write their pixels. A map that stays in shared memory between the phases is read once, in one launch
// whose blocks wait for one another; a larger one is read for the sums and again for the result, with a launch for each phase.
#include "tensor/kernels/norm.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/group_norm_tiling.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/mma.h"
#include "tensor/cuda/row_sums.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

using kernels::GroupNormOptions;
using Tiling = GroupNormTiling;

constexpr int norm_warps = norm_threads / warp_size;

// A phase with a launch of its own that reads a map again takes the chunks from the last to the first: the ends of large maps
// are still in the cache.
enum class Order { first_to_last, last_to_first };

// What falls to a thread: N channels of every `step`th row from `top + above` on.
template <int N> struct Share {
  __device__ Share(const Tiling& t, Order order)
      : item(order == Order::first_to_last ? blockIdx.x : gridDim.x - 1 - blockIdx.x),
        sample(item / t.chunks),
        chunk(item - sample * t.chunks),
        strip(int(blockIdx.y)),
        across(int(threadIdx.x) % t.width),
        above(int(threadIdx.x) / t.width),
        column((strip * t.width + across) * N),
        top(sample * t.pixels + chunk * t.pixels_each),
        end(top + t.pixels_of(chunk)),
        step(t.height),
        active(above < t.height && column < t.channels) {}
  // f(row, how many of the thread's rows come before).
  template <class F> __device__ void for_each_row(F&& f) const {
    int64_t row = top + above;
    for (int before = 0; row < end; row += step, ++before) f(row, before);
  }
  template <class T> __device__ Pack<T, N> load(const Rows<T>& x, int64_t row) const {
    return *reinterpret_cast<const Pack<T, N>*>(x.at(row, column));
  }
  int64_t item, sample, chunk;
  int strip, across, above, column;
  int64_t top, end;
  int step;
  bool active;
};

// A pair of sums for every channel of every thread, so that one warp or thread can add up those of others.
template <int N> struct SharedSums {
  __device__ float& of(const Tiling& t, int which, int channel, int row) {
    return at[which][channel % N][row * t.width + channel / N];
  }
  float at[2][N][norm_threads];
};
template <int N> __device__ inline void exchange_sums(SharedSums<N>& sums, const float (&first)[N], const float (&second)[N]) {
  RELUME_UNROLL
  for (int k = 0; k < N; ++k) sums.at[0][k][threadIdx.x] = first[k], sums.at[1][k][threadIdx.x] = second[k];
  sync_block();
}

// f(group) for the groups that the strip touches, by a whole warp each.
template <class F> __device__ inline void for_each_group(const Tiling& t, int strip, F&& f) {
  const int last = t.last_group(strip);
  for (int group = t.first_group(strip) + int(threadIdx.x) / warp_size; group <= last; group += norm_warps) f(group);
}

__device__ inline int lane() { return int(threadIdx.x) % warp_size; }

// What blocks know of groups is stored as [samples, groups, chunks, strips of a group].
template <int N> __device__ inline int64_t part_of(const Tiling& t, const Share<N>& mine, int group) {
  return ((mine.sample * t.groups + group) * t.chunks + mine.chunk) * t.strips_of_group() + mine.strip - t.first_strip(group);
}
// The sum of f(part, how many numbers it has) over the parts of a group of a sample, by a warp, in a fixed order.
template <class F> __device__ inline double sum_of_parts(const Tiling& t, int64_t item, F&& f) {
  const int group = int(item % t.groups), strips = t.strips_of_group(), first = t.first_strip(group), parts = int(t.parts());
  double sum = 0;
  for (int i = lane(); i < parts; i += warp_size) {
    const int chunk = i / strips, strip = first + i - chunk * strips;
    const int columns = t.end_of(group, strip) - t.begin_of(group, strip);
    if (columns > 0) sum += f(item * parts + i, double(t.pixels_of(chunk) * columns));
  }
  return warp_sum(sum);
}

// ---- The phases ------------------------------------------------------------------------------------------------------------

struct Moments {
  double mean, deviations;  // and the sum of the squared differences to it
};

// The moments of each group in this chunk and strip; load(row, before) gives the numbers of x. What is summed are differences
// to one of the numbers: a mean far from zero costs no accuracy.
template <class T, int N, class Load> __device__ inline void store_moments(const Tiling& t, const Share<N>& mine,
                                                                           SharedSums<N>& shared, Moments* partial,
                                                                           const Rows<T>& x, Load&& load) {
  float sums[N] = {}, squares[N] = {}, centre[N];
  if (mine.active) {
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) centre[k] = get(*x.at(mine.top, (mine.column + k) / t.in_group * t.in_group));
    mine.for_each_row([&](int64_t row, int before) {
      const Pack<T, N> pack = load(row, before);
      RELUME_UNROLL
      for (int k = 0; k < N; ++k) {
        const float difference = get(pack.at[k]) - centre[k];
        sums[k] += difference;
        squares[k] = math::fma(difference, difference, squares[k]);
      }
    });
  }
  exchange_sums(shared, sums, squares);
  for_each_group(t, mine.strip, [&](int group) {
    const int begin = t.begin_of(group, mine.strip), columns = t.end_of(group, mine.strip) - begin;
    float sum = 0, square = 0;
    for (int i = lane(); i < columns * t.height; i += warp_size) {
      const int row = i / columns, channel = begin - mine.strip * t.strip_channels + i - row * columns;
      sum += shared.of(t, 0, channel, row), square += shared.of(t, 1, channel, row);
    }
    sum = warp_sum(sum), square = warp_sum(square);
    if (lane() != 0) return;
    const double off = double(sum) / double(t.pixels_of(mine.chunk) * columns);
    partial[part_of(t, mine, group)] = {double(get(*x.at(mine.top, group * t.in_group))) + off,
                                        double(square) - double(sum) * off};
  });
}

struct Statistics {
  float mean, rstd;
  float rest;  // what the mean lacks in float, times rstd
};

// Of a group of a sample, by a warp.
__device__ inline Statistics joined(const Tiling& t, int64_t item, const Moments* partial, double eps) {
  const double count = double(t.pixels * t.in_group);
  const double mean = sum_of_parts(t, item, [&](int64_t part, double n) { return n * partial[part].mean; }) / count;
  const double deviations = sum_of_parts(t, item, [&](int64_t part, double n) {
    const double off = partial[part].mean - mean;
    return partial[part].deviations + n * off * off;
  });
  const double rstd = 1 / math::sqrt(std::max(0.0, deviations) / count + eps);
  return {float(mean), float(rstd), float((mean - double(float(mean))) * rstd)};
}

// What is known of groups, two numbers each: of all samples' (`first` is 0), or of those from `first` on.
struct GroupPairs {
  template <int N> __device__ int64_t of(const Tiling& t, const Share<N>& mine, int k) const {
    return mine.sample * t.groups + (mine.column + k) / t.in_group - first;
  }
  const float* at;
  int64_t first;
};

// How this thread's channels are normalised: fma(x - centre, scale, shift) stands before the activation. stats: mean and rstd;
// rest: one number for each group, or null.
template <int N> struct Normal {
  template <class T> __device__ Normal(const Tiling& t, const Share<N>& mine, const GroupPairs& stats, const float* rest,
                                       const T* weight, const T* bias) {
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) {
      const int64_t group = stats.of(t, mine, k);
      const float w = get(weight[mine.column + k]), b = get(bias[mine.column + k]);
      centre[k] = stats.at[2 * group];
      scale[k] = stats.at[2 * group + 1] * w;
      shift[k] = rest ? math::fma(-rest[group], w, b) : b;
    }
  }
  __device__ float off(int k, float x) const { return x - centre[k]; }
  __device__ float before(int k, float off) const { return math::fma(off, scale[k], shift[k]); }
  float centre[N], scale[N], shift[N];
};

template <class T, int N, class Act, class Load>
__device__ inline void store_normalised(const Share<N>& mine, const Normal<N>& normal, const Rows<T>& y, Act act, Load&& load) {
  mine.for_each_row([&](int64_t row, int before) {
    Pack<T, N> pack = load(row, before);
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) put(pack.at[k], act.value(normal.before(k, normal.off(k, get(pack.at[k])))));
    *reinterpret_cast<Pack<T, N>*>(y.at(row, mine.column)) = pack;
  });
}

// What the backward pass reads; stats [samples, groups, 2].
template <class T> struct Inputs {
  template <int N> __device__ Normal<N> normal(const Tiling& t, const Share<N>& mine) const {
    return Normal<N>(t, mine, {stats, 0}, nullptr, weight, bias);
  }
  Rows<T> dy, x;
  const float* stats;
  const T *weight, *bias;
};

struct GroupSums {
  double gradients, products;  // of dz weight, and of dz weight (x - mean)
};
// of_channels [samples, chunks, 2, channels]: what the pixels of a chunk give for the gradients of bias and weight.
struct PartialGradients {
  float* of_channels;
  GroupSums* of_groups;
};

template <class T, int N, class Act, class Load, class LoadGradients>
__device__ inline void store_gradients(const Tiling& t, const Share<N>& mine, SharedSums<N>& shared,
                                       const PartialGradients& partial, const Inputs<T>& in, Act act, Load&& load,
                                       LoadGradients&& load_gradients) {
  float sums[N] = {}, products[N] = {};
  if (mine.active) {
    const Normal<N> normal = in.normal(t, mine);
    mine.for_each_row([&](int64_t row, int before) {
      const Pack<T, N> pack = load(row, before), gradients = load_gradients(row, before);
      RELUME_UNROLL
      for (int k = 0; k < N; ++k) {
        const float off = normal.off(k, get(pack.at[k])), dz = get(gradients.at[k]) * act.slope(normal.before(k, off));
        sums[k] += dz;
        products[k] = math::fma(dz, off, products[k]);
      }
    });
  }
  exchange_sums(shared, sums, products);
  const int start = mine.strip * t.strip_channels, columns = std::min(t.strip_channels, t.channels - start);
  const int64_t first = mine.sample * t.groups;
  for (int i = threadIdx.x; i < 2 * columns; i += norm_threads) {
    const int which = i / columns, channel = i - which * columns;
    float total = shared.of(t, which, channel, 0);
    for (int row = 1; row < t.height; ++row) total += shared.of(t, which, channel, row);
    shared.of(t, which, channel, 0) = total;  // nobody else reads this channel's
    const float rstd = in.stats[2 * (first + (start + channel) / t.in_group) + 1];
    partial.of_channels[(mine.item * 2 + which) * t.channels + start + channel] = which == 0 ? total : total * rstd;
  }
  sync_block();
  for_each_group(t, mine.strip, [&](int group) {
    double gradients = 0, products_of_group = 0;
    for (int channel = t.begin_of(group, mine.strip) + lane(); channel < t.end_of(group, mine.strip); channel += warp_size) {
      const double w = double(get(in.weight[channel]));
      gradients += w * double(shared.of(t, 0, channel - start, 0));
      products_of_group += w * double(shared.of(t, 1, channel - start, 0));
    }
    gradients = warp_sum(gradients), products_of_group = warp_sum(products_of_group);
    if (lane() == 0) partial.of_groups[part_of(t, mine, group)] = {gradients, products_of_group};
  });
}

// dx = scale dz + slope (x - mean) + level, which is rstd (g - mean(g) - xhat mean(g xhat)) with g = dz weight.
struct Line {
  float slope, level;
};

// Of a group of a sample, by a warp.
__device__ inline Line joined(const Tiling& t, int64_t item, const GroupSums* partial, const float* stats) {
  const double rstd = double(stats[2 * item + 1]), count = double(t.pixels * t.in_group);
  const double gradients = sum_of_parts(t, item, [&](int64_t part, double) { return partial[part].gradients; });
  const double products = sum_of_parts(t, item, [&](int64_t part, double) { return partial[part].products; });
  return {float(-rstd * rstd * rstd * products / count), float(-rstd * gradients / count)};
}

template <class T, int N, class Act, class Load, class LoadGradients>
__device__ inline void store_input_gradients(const Tiling& t, const Share<N>& mine, const Inputs<T>& in,
                                             const GroupPairs& lines, const Rows<T>& dx, Act act, Load&& load,
                                             LoadGradients&& load_gradients) {
  const Normal<N> normal = in.normal(t, mine);
  float slope[N], level[N];
  RELUME_UNROLL
  for (int k = 0; k < N; ++k) {
    const int64_t group = lines.of(t, mine, k);
    slope[k] = lines.at[2 * group], level[k] = lines.at[2 * group + 1];
  }
  mine.for_each_row([&](int64_t row, int before) {
    Pack<T, N> pack = load(row, before);
    const Pack<T, N> gradients = load_gradients(row, before);
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) {
      const float off = normal.off(k, get(pack.at[k])), dz = get(gradients.at[k]) * act.slope(normal.before(k, off));
      put(pack.at[k], math::fma(normal.scale[k], dz, math::fma(off, slope[k], level[k])));
    }
    *reinterpret_cast<Pack<T, N>*>(dx.at(row, mine.column)) = pack;
  });
}

// ---- A launch for each phase -----------------------------------------------------------------------------------------------

template <class T, int N> static __global__ void partial_moments(Tiling t, Moments* partial, Rows<T> x) {
  RELUME_SHARED(shared, SharedSums<N>);
  const Share<N> mine(t, Order::first_to_last);
  store_moments(t, mine, shared, partial, x, [&](int64_t row, int) { return mine.load(x, row); });
}

// A warp for each group of each sample. stats [samples, groups, 2]; rest [samples, groups].
static __global__ void join_moments(Tiling t, float* stats, float* rest, const Moments* partial, double eps) {
  const int64_t item = blockIdx.x;
  const Statistics found = joined(t, item, partial, eps);
  if (lane() == 0) stats[2 * item] = found.mean, stats[2 * item + 1] = found.rstd, rest[item] = found.rest;
}

template <class T, int N, class Act> static __global__ void normalise_groups(Tiling t, Rows<T> y, Rows<T> x, const float* stats,
                                                                             const float* rest, const T* weight, const T* bias,
                                                                             Act act) {
  const Share<N> mine(t, Order::last_to_first);
  if (!mine.active) return;
  const Normal<N> normal(t, mine, {stats, 0}, rest, weight, bias);
  store_normalised(mine, normal, y, act, [&](int64_t row, int) { return mine.load(x, row); });
}

template <class T, int N, class Act>
static __global__ void partial_gradients(Tiling t, PartialGradients partial, Inputs<T> in, Act act) {
  RELUME_SHARED(shared, SharedSums<N>);
  const Share<N> mine(t, Order::first_to_last);
  store_gradients(
      t, mine, shared, partial, in, act, [&](int64_t row, int) { return mine.load(in.x, row); },
      [&](int64_t row, int) { return mine.load(in.dy, row); });
}

// A warp for each group of each sample. lines [samples, groups, 2]: slope and level.
static __global__ void join_gradients(Tiling t, float* lines, const GroupSums* partial, const float* stats) {
  const int64_t item = blockIdx.x;
  const Line line = joined(t, item, partial, stats);
  if (lane() == 0) lines[2 * item] = line.slope, lines[2 * item + 1] = line.level;
}

template <class T, int N, class Act>
static __global__ void normalise_groups_backward(Tiling t, Rows<T> dx, Inputs<T> in, const float* lines, Act act) {
  const Share<N> mine(t, Order::last_to_first);
  if (!mine.active) return;
  store_input_gradients(
      t, mine, in, {lines, 0}, dx, act, [&](int64_t row, int) { return mine.load(in.x, row); },
      [&](int64_t row, int) { return mine.load(in.dy, row); });
}

// ---- One launch: what a block has read stays in its shared memory ---------------------------------------------------------

// Behind it lie the packs of one map, or of two.
template <int N> struct alignas(16) KeptMemory {
  SharedSums<N> sums;
  float pairs[2 * most_kept_channels], rest[most_kept_channels];  // of the groups that the strip touches
};
template <class T, int N> __device__ inline Pack<T, N>* packs_behind(KeptMemory<N>& memory) {
  return reinterpret_cast<Pack<T, N>*>(&memory + 1);
}
template <class T, int N> size_t kept_bytes(const Tiling& t, int maps) {
  return sizeof(KeptMemory<N>) + size_t(t.packs_each() * maps) * sizeof(Pack<T, N>);
}

// A thread's packs of a map, which it alone reads and writes; neighbouring threads' are neighbours.
template <class T, int N> struct KeptPacks {
  __device__ KeptPacks(const Tiling& t, Pack<T, N>* packs) : mine(packs + threadIdx.x), step(t.width * t.height) {}
  __device__ Pack<T, N>& operator[](int before) const { return mine[before * step]; }
  // All are on their way at once; they are there when copies were waited for.
  __device__ void start_copy(const Share<N>& share, const Rows<T>& x) const {
    if (!share.active) return;
    share.for_each_row([&](int64_t row, int before) {
      if constexpr (sizeof(Pack<T, N>) == 16)
        cp_async(&mine[before * step], x.at(row, share.column), true);
      else
        mine[before * step] = share.load(x, row);
    });
  }
  Pack<T, N>* mine;
  int step;
};
__device__ inline void wait_for_copies() {
  cp_async_commit();
  cp_async_wait<0>();
}

// stats may be null.
template <class T, int N, class Act>
static __global__ void normalise_kept_groups(Tiling t, GridBarrier* barrier, Rows<T> y, float* stats, Moments* partial,
                                             Rows<T> x, const T* weight, const T* bias, double eps, Act act) {
  KeptMemory<N>& memory = *dynamic_shared<KeptMemory<N>>();
  const Share<N> mine(t, Order::first_to_last);
  const KeptPacks<T, N> kept(t, packs_behind<T>(memory));
  const auto load = [&](int64_t, int before) { return kept[before]; };
  kept.start_copy(mine, x);
  wait_for_copies();
  store_moments(t, mine, memory.sums, partial, x, load);
  sync_grid(barrier);
  const int first = t.first_group(mine.strip);
  for_each_group(t, mine.strip, [&](int group) {
    const int64_t item = mine.sample * t.groups + group;
    const Statistics found = joined(t, item, partial, eps);
    if (lane() != 0) return;
    memory.pairs[2 * (group - first)] = found.mean, memory.pairs[2 * (group - first) + 1] = found.rstd;
    memory.rest[group - first] = found.rest;
    if (stats && mine.chunk == 0 && mine.strip == t.first_strip(group))
      stats[2 * item] = found.mean, stats[2 * item + 1] = found.rstd;
  });
  sync_block();
  if (!mine.active) return;
  const Normal<N> normal(t, mine, {memory.pairs, mine.sample * t.groups + first}, memory.rest, weight, bias);
  store_normalised(mine, normal, y, act, load);
}

// Keeps x, and with two maps dy.
template <class T, int N, class Act>
static __global__ void normalise_kept_groups_backward(Tiling t, GridBarrier* barrier, int maps, Rows<T> dx,
                                                      PartialGradients partial, Inputs<T> in, Act act) {
  KeptMemory<N>& memory = *dynamic_shared<KeptMemory<N>>();
  const Share<N> mine(t, Order::first_to_last);
  Pack<T, N>* const packs = packs_behind<T>(memory);
  const KeptPacks<T, N> kept(t, packs), kept_gradients(t, packs + t.packs_each());
  const auto load = [&](int64_t, int before) { return kept[before]; };
  const auto load_gradients = [&](int64_t row, int before) {
    return maps == 2 ? kept_gradients[before] : mine.load(in.dy, row);
  };
  kept.start_copy(mine, in.x);
  if (maps == 2) kept_gradients.start_copy(mine, in.dy);
  wait_for_copies();
  store_gradients(t, mine, memory.sums, partial, in, act, load, load_gradients);
  sync_grid(barrier);
  const int first = t.first_group(mine.strip);
  for_each_group(t, mine.strip, [&](int group) {
    const Line line = joined(t, mine.sample * t.groups + group, partial.of_groups, in.stats);
    if (lane() == 0) memory.pairs[2 * (group - first)] = line.slope, memory.pairs[2 * (group - first) + 1] = line.level;
  });
  sync_block();
  if (!mine.active) return;
  store_input_gradients(t, mine, in, {memory.pairs, mine.sample * t.groups + first}, dx, act, load, load_gradients);
}

// ---- Launches --------------------------------------------------------------------------------------------------------------

// Memory for a kernel while it runs.
template <class T> class Scratch {
 public:
  Scratch(Device device, int64_t count) : storage_(device, count * int64_t(sizeof(T)), MemoryUse::scratch) {}
  T* data() const { return static_cast<T*>(storage_.data()); }

 private:
  Storage storage_;
};

GroupedMap map_of(const Tensor& x, int groups) {
  return {.samples = x.shape(0), .pixels = x.rows() / x.shape(0), .channels = int(columns_of(x)), .groups = groups};
}

// How the kernel shares the map when so many maps stay; none where they do not.
template <class T, int N, class... P>
std::optional<Tiling> kept_by(void (*kernel)(P...), const GroupedMap& map, int maps, Device device) {
  return kept_tiling(map, N, sizeof(T), sizeof(KeptMemory<N>), size_t(maps) * sizeof(Pack<T, N>), multiprocessors(device),
                     [&](size_t shared_bytes) {
                       return blocks_at_once(device, reinterpret_cast<const void*>(kernel), norm_threads, shared_bytes);
                     });
}

// `rest` may be null.
template <class T, int N, class Act> void normalise(const char* name, const Tiling& t, const Tensor& y, const Tensor& x,
                                                    const float* stats, const float* rest, const Tensor& weight,
                                                    const Tensor& bias, Act act) {
  launch(name, normalise_groups<T, N, Act>, t.grid(), norm_threads, 0, stream(x.device()), t, Rows<T>(y), Rows<T>(x), stats,
         rest, weight.data<T>(), bias.data<T>(), act);
}

template <class T, int N, class Act> void forward(const Tensor& y, const Tensor& stats, const Tensor& x, const Tensor& weight,
                                                  const Tensor& bias, const GroupNormOptions& options, Act act) {
  constexpr const char* name = "group_norm_forward";
  const Device device = x.device();
  const GroupedMap map = map_of(x, options.groups);
  const auto kernel = normalise_kept_groups<T, N, Act>;
  const std::optional<Tiling> kept = y ? kept_by<T, N>(kernel, map, 1, device) : std::nullopt;
  const Tiling t = kept ? *kept : streamed_tiling(map, N);
  const int64_t groups = map.samples * map.groups;
  const Scratch<Moments> partial(device, groups * t.parts());
  if (kept)
    return launch_cooperative(name, kernel, t.grid(), norm_threads, kept_bytes<T, N>(t, 1), stream(device), t,
                              grid_barrier(device), Rows<T>(y), stats ? stats.data<float>() : nullptr, partial.data(),
                              Rows<T>(x), weight.data<T>(), bias.data<T>(), options.eps, act);
  const Scratch<float> rest(device, groups), own_stats(device, stats ? 0 : 2 * groups);
  float* const found = stats ? stats.data<float>() : own_stats.data();
  launch(name, partial_moments<T, N>, t.grid(), norm_threads, 0, stream(device), t, partial.data(), Rows<T>(x));
  launch(name, join_moments, dim3(unsigned(groups)), warp_size, 0, stream(device), t, found, rest.data(), partial.data(),
         options.eps);
  if (y) normalise<T, N>(name, t, y, x, found, rest.data(), weight, bias, act);
}

// of_channels [chunks, 2, channels], of all samples' chunks.
template <class T> void parameter_gradients(const char* name, const Tensor& dweight, const Tensor& dbias,
                                            const float* of_channels, int64_t chunks) {
  constexpr int64_t most_at_once = 256;  // eight for each lane of total_of_chunks()
  const Tensor& either = dbias ? dbias : dweight;
  const Device device = either.device();
  const int64_t channels = either.numel(), joined = chunks > most_at_once ? chunks_of(chunks) : 0;
  const Scratch<float> fewer(device, joined * 2 * channels);
  if (joined > 0) join_chunks(name, device, fewer.data(), {of_channels, 2 * channels}, chunks);
  const float* const sums = joined > 0 ? fewer.data() : of_channels;
  const int64_t rows = joined > 0 ? joined : chunks;
  if (dbias) total_of_chunks<T>(name, dbias, rows, sums, 2 * channels);
  if (dweight) total_of_chunks<T>(name, dweight, rows, sums + channels, 2 * channels);
}

template <class T, int N, class Act> void backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias,
                                                   const Inputs<T>& in, const GroupedMap& map, Device device, Act act) {
  constexpr const char* name = "group_norm_backward";
  const auto kernel = normalise_kept_groups_backward<T, N, Act>;
  int maps = 2;
  std::optional<Tiling> kept = kept_by<T, N>(kernel, map, maps, device);
  if (!kept) kept = kept_by<T, N>(kernel, map, maps = 1, device);
  const Tiling t = kept ? *kept : streamed_tiling(map, N);
  const int64_t chunks = map.samples * t.chunks, groups = map.samples * map.groups, both = 2 * int64_t(map.channels);
  const Scratch<float> of_channels(device, chunks * both);
  const Scratch<GroupSums> of_groups(device, groups * t.parts());
  const PartialGradients partial{of_channels.data(), of_groups.data()};
  if (kept && dx) {
    launch_cooperative(name, kernel, t.grid(), norm_threads, kept_bytes<T, N>(t, maps), stream(device), t, grid_barrier(device),
                       maps, Rows<T>(dx), partial, in, act);
  } else {
    launch(name, partial_gradients<T, N, Act>, t.grid(), norm_threads, 0, stream(device), t, partial, in, act);
  }
  if (!kept && dx) {
    const Scratch<float> lines(device, 2 * groups);
    launch(name, join_gradients, dim3(unsigned(groups)), warp_size, 0, stream(device), t, lines.data(), partial.of_groups,
           in.stats);
    launch(name, normalise_groups_backward<T, N, Act>, t.grid(), norm_threads, 0, stream(device), t, Rows<T>(dx), in,
           lines.data(), act);
  }
  if (dbias || dweight) parameter_gradients<T>(name, dweight, dbias, partial.of_channels, chunks);
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
    visit_activation(options.act, [&](auto act) {
      with_pack<T>([&](auto pack) { forward<T, decltype(pack)::value>(y, stats, x, weight, bias, options, act); }, y, x);
    });
  });
}

void group_norm_apply(const Tensor& y, const Tensor& x, const Tensor& stats, const Tensor& weight, const Tensor& bias,
                      const GroupNormOptions& options) {
  visit_float("group_norm_apply", x, [&]<class T>() {
    visit_activation(options.act, [&](auto act) {
      with_pack<T>(
          [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            normalise<T, N>("group_norm_apply", streamed_tiling(map_of(x, options.groups), N), y, x, stats.data<float>(),
                            nullptr, weight, bias, act);
          },
          y, x);
    });
  });
}

void group_norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dy, const Tensor& x,
                         const Tensor& stats, const Tensor& weight, const Tensor& bias, const GroupNormOptions& options) {
  visit_float("group_norm_backward", x, [&]<class T>() {
    const Inputs<T> in{Rows<T>(dy), Rows<T>(x), stats.data<float>(), weight.data<T>(), bias.data<T>()};
    visit_activation(options.act, [&](auto act) {
      with_pack<T>(
          [&](auto pack) {
            backward<T, decltype(pack)::value>(dx, dweight, dbias, in, map_of(x, options.groups), x.device(), act);
          },
          dx, dy, x);
    });
  });
}

}  // namespace

void register_group_norm_kernels() {
  kernels::group_norm_forward.set(DeviceKind::cuda, group_norm_forward);
  kernels::group_norm_apply.set(DeviceKind::cuda, group_norm_apply);
  kernels::group_norm_backward.set(DeviceKind::cuda, group_norm_backward);
}

}  // namespace relume::cuda
