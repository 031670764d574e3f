#include <array>
#include <cmath>
#include <vector>

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/random_stream.h"
#include "tensor/cuda/uploaded.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/picture.h"

namespace relume::cuda {
namespace {

struct NearestLevel {
  __device__ float operator()(float x) const { return nearest_level(x) / 255; }
};
struct Clamp {
  __device__ float operator()(float x) const { return clamped_to_unit(x); }
};
void round_to_levels(const Tensor& y, const Tensor& x) { for_elements<float>("round_to_levels", NearestLevel{}, y, x); }
void clamp_to_unit(const Tensor& y, const Tensor& x) { for_elements<float>("clamp_to_unit", Clamp{}, y, x); }

// Blocks of a launch whose grid has a row for each sample: samples beyond the largest grid are taken one after another.
dim3 sample_grid(int64_t samples, int64_t items, Device device) {
  dim3 grid = loop_grid(items, device);
  grid.y = unsigned(std::min<int64_t>(samples, 65535));
  return grid;
}

// ---- Added noise ----------------------------------------------------------------------------------------------------------

// `values` of noise in a sample, each for `each` neighbouring elements; N elements at a time.
template <int N> static __global__ void add_scaled(int64_t samples, int64_t values, int64_t each, float* y, const float* x,
                                                   const float* noise, const float* scale, bool clip) {
  const int64_t elements = values * each;
  for (int64_t n = blockIdx.y; n < samples; n += gridDim.y)
    for_each_item(elements / N, [&](int64_t i) {
      const int64_t first = n * elements + i * N;
      Pack<float, N> value = *reinterpret_cast<const Pack<float, N>*>(x + first);
      for (int k = 0; k < N; ++k) {
        const int64_t at = each == 1 ? i * N + k : (i * N + k) / each;
        const float sum = math::fma(scale[n], noise[n * values + at], value.at[k]);
        value.at[k] = clip ? clamped_to_unit(sum) : sum;
      }
      *reinterpret_cast<Pack<float, N>*>(y + first) = value;
    });
}

void add_noise(const Tensor& y, const Tensor& x, const Tensor& noise, const Tensor& scale, bool clip) {
  if (x.numel() == 0) return;
  const int64_t samples = x.shape(0), elements = x.numel() / samples, each = x.numel() / noise.numel();
  constexpr int N = pack_size<float>;
  const bool packed = elements % N == 0 && packs_fit<float, N>(y, true) && packs_fit<float, N>(x, true);
  launch("add_noise", packed ? add_scaled<N> : add_scaled<1>, sample_grid(samples, elements / (packed ? N : 1), x.device()),
         loop_threads, 0, stream(x.device()), samples, elements / each, each, y.data<float>(), x.data<float>(),
         noise.data<float>(), scale.data<float>(), clip);
}

// ---- Shot noise -----------------------------------------------------------------------------------------------------------

constexpr int levels = 256;

// The values whose levels count: the elements of a sample, or the luma of its pixels.
struct Values {
  const float* x;
  int64_t elements;  // of x in a sample
  int64_t count;     // of values in a sample
  bool luma;
  std::array<float, 3> luma_weights;
  __device__ int level(int64_t sample, int64_t i) const {
    const float* const of = x + sample * elements;
    return int(nearest_level(luma ? luma_of(luma_weights, of + 3 * i) : of[i]));
  }
};

// What the noise of a sample is made by. A word w stands for the count first[level] + j, j the least with w <= last[level][j].
struct Sample {
  float step;  // 1 / v, v the power of two for its number of distinct levels
  uint32_t first[levels];
  uint32_t last[levels][most_poisson_counts];  // behind the largest count: the largest word
  __device__ float count(int level, uint32_t word) const {
    const uint32_t* const bound = last[level];
    uint32_t j = 0;
    for (uint32_t half = most_poisson_counts / 2; half > 0; half /= 2)
      if (bound[j + half - 1] < word) j += half;
    return float(first[level] + j);
  }
};

// present[sample][level] = 1 for the levels there are, over zeros.
static __global__ void note_levels(int64_t samples, Values values, uint8_t* present) {
  RELUME_SHARED(here, uint8_t[levels]);
  for (int64_t n = blockIdx.y; n < samples; n += gridDim.y) {
    sync_block();  // the levels of the sample before may still be read
    here[threadIdx.x] = 0;
    sync_block();
    for_each_item(values.count, [&](int64_t i) { here[values.level(n, i)] = 1; });  // whoever writes, writes the same
    sync_block();
    if (here[threadIdx.x]) present[n * levels + threadIdx.x] = 1;
  }
}

// A block makes a sample, a thread the words of a level. The device's exp() rounds in a way of its own, so that e^-rate comes
// from the host, for all [log2 v][level].
static __global__ void prepare_samples(const uint8_t* present, const double* exp_of_rates, bool draw, Sample* sample_of) {
  const int level = int(threadIdx.x);
  Sample& sample = sample_of[blockIdx.x];
  const bool is_present = present[blockIdx.x * int64_t(levels) + level];
  const int distinct = block_sum<levels>(int(is_present));
  int log2_values = 0;
  while (1 << log2_values < distinct) ++log2_values;
  const int values = 1 << log2_values;
  if (level == 0) sample.step = 1 / float(values);
  if (!draw || !is_present) return;
  int size = 0;
  uint64_t end = 0;
  const double rate = double(values) * double(level) / 255;
  for (PoissonCounts counts{rate, exp_of_rates[log2_values * levels + level]}; end < all_words; counts.next()) {
    end = counts.end_of_words();
    if (end == 0) continue;
    if (size == 0) sample.first[level] = counts.k;
    sample.last[level][size++] = uint32_t(end - 1);
  }
  for (; size < most_poisson_counts; ++size) sample.last[level][size] = ~uint32_t(0);
}

// A thread makes what the four words of a block give.
static __global__ void shot_noise(int64_t samples, Values values, const Sample* sample_of, const float* counts,
                                  const Stream* streams, float* noise) {
  for (int64_t n = blockIdx.y; n < samples; n += gridDim.y) {
    const Sample& sample = sample_of[n];
    for_each_item((values.count + 3) / 4, [&](int64_t block) {
      const std::array<uint32_t, 4> words = counts ? std::array<uint32_t, 4>{} : streams[n].block(block);
      RELUME_UNROLL
      for (int k = 0; k < 4; ++k) {
        const int64_t i = 4 * block + k;
        if (i >= values.count) break;
        const int level = values.level(n, i);
        const float count = counts ? counts[n * values.count + i] : sample.count(level, words[size_t(k)]);
        noise[n * values.count + i] = count * sample.step - float(level) / 255;
      }
    });
  }
}

// e^-rate for every v = 2^p and level.
std::span<const double> exp_of_rates() {
  static const std::vector<double> table = [] {
    std::vector<double> values;
    for (int v = 1; v <= levels; v *= 2)
      for (int level = 0; level < levels; ++level) values.push_back(std::exp(-(double(v) * double(level) / 255)));
    return values;
  }();
  return table;
}

void poisson_noise(const Tensor& noise, const Tensor& x, const Tensor& counts, std::span<const RandomKey> keys,
                   const std::array<float, 3>& luma_weights) {
  if (x.numel() == 0) return;
  const char* const name = "poisson_noise";
  const Device device = x.device();
  const cudaStream_t on = stream(device);
  const int64_t samples = x.shape(0);
  const bool luma = noise.shape(3) != x.shape(3);
  RELUME_BUG(!luma || x.shape(3) == 3, "poisson_noise: luma of ", x);
  const Values values{x.data<float>(), x.numel() / samples, noise.numel() / samples, luma, luma_weights};

  const Storage present(device, samples * levels, MemoryUse::scratch);
  check(cudaMemsetAsync(present.data(), 0, size_t(present.bytes()), on), "cudaMemsetAsync");
  launch(name, note_levels, sample_grid(samples, values.count, device), levels, 0, on, samples, values,
         static_cast<uint8_t*>(present.data()));

  const bool draw = !counts;
  const Storage prepared(device, samples * int64_t(sizeof(Sample)), MemoryUse::scratch);
  auto* const sample_of = static_cast<Sample*>(prepared.data());
  const Uploaded<double> rates(draw ? exp_of_rates() : std::span<const double>(), device);
  launch(name, prepare_samples, dim3(unsigned(samples)), levels, 0, on, static_cast<const uint8_t*>(present.data()),
         rates.data(), draw, sample_of);

  const std::vector<Stream> host_streams = draw ? std::vector<Stream>(keys.begin(), keys.end()) : std::vector<Stream>();
  const Uploaded<Stream> streams(host_streams, device);
  launch(name, shot_noise, sample_grid(samples, (values.count + 3) / 4, device), loop_threads, 0, on, samples, values,
         sample_of, counts ? counts.data<float>() : nullptr, streams.data(), noise.data<float>());
}

}  // namespace

void register_picture_noise_kernels() {
  kernels::add_noise.set(DeviceKind::cuda, add_noise);
  kernels::round_to_levels.set(DeviceKind::cuda, round_to_levels);
  kernels::clamp_to_unit.set(DeviceKind::cuda, clamp_to_unit);
  kernels::poisson_noise.set(DeviceKind::cuda, poisson_noise);
}

}  // namespace relume::cuda
