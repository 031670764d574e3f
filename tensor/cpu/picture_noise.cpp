#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/philox_blocks.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/picture.h"

namespace relume::cpu {
namespace {

constexpr int levels = 256;

constexpr std::array<float, levels> value_of = [] {
  std::array<float, levels> values{};
  for (size_t l = 0; l < levels; ++l) values[l] = float(l) / 255;
  return values;
}();
uint8_t level_of(float value) { return uint8_t(nearest_level(value)); }

void round_to_levels(const Tensor& y, const Tensor& x) {
  for_runs<float>(
      [](int64_t n, float* to, const float* value) {
        for (int64_t i = 0; i < n; ++i) to[i] = nearest_level(value[i]) / 255;
      },
      y, x);
}

void clamp_to_unit(const Tensor& y, const Tensor& x) {
  for_runs<float>(
      [](int64_t n, float* to, const float* value) {
        for (int64_t i = 0; i < n; ++i) to[i] = clamped_to_unit(value[i]);
      },
      y, x);
}

// to[i] = x[i] + scale * noise[i / per_value].
template <int64_t per_value, bool clip>
void add_scaled(float* to, const float* x, const float* noise, float scale, int64_t values, int64_t channels) {
  const int64_t each = per_value > 0 ? per_value : channels;
  for (int64_t i = 0; i < values; ++i)
    for (int64_t c = 0; c < each; ++c) {
      const float sum = x[i * each + c] + scale * noise[i];
      to[i * each + c] = clip ? clamped_to_unit(sum) : sum;
    }
}

void add_noise(const Tensor& y, const Tensor& x, const Tensor& noise, const Tensor& scale, bool clip) {
  const int64_t samples = x.shape(0), values = noise.numel() / samples, each = x.numel() / noise.numel();
  const auto add = each == 1   ? (clip ? add_scaled<1, true> : add_scaled<1, false>)
                   : each == 3 ? (clip ? add_scaled<3, true> : add_scaled<3, false>)
                               : (clip ? add_scaled<0, true> : add_scaled<0, false>);
  const Pieces pieces(samples, values);
  pieces.visit_all([&](int64_t n, int64_t begin, int64_t end) {
    const int64_t first = n * values + begin;
    add(y.data<float>() + first * each, x.data<float>() + first * each, noise.data<float>() + first, scale.data<float>()[n],
        end - begin, each);
  });
}

// The inverse of the Poisson distribution function for each grey level of one sample. A word w stands for the count
// first[level] + j, j the least with w <= last[level][j]; a guide finds where to begin from the word's upper bits.
class PoissonTables {
 public:
  // `present`: the levels there are; the rate of a level is values * level / 255.
  PoissonTables(const std::vector<bool>& present, int64_t values)
      : last_(levels * capacity), guide_(levels * guides), first_(levels) {
    parallel_for(levels, 16, [&](int64_t begin, int64_t end) {
      for (int64_t level = begin; level < end; ++level)
        if (present[size_t(level)]) build(level, double(values) * double(level) / 255);
    });
  }

  float count(uint8_t level, uint32_t word) const {
    const uint32_t* last = last_.data() + level * capacity;
    uint32_t j = guide_[level * guides + (word >> (32 - guide_bits))];
    while (word > last[j]) ++j;
    return float(first_[level] + j);
  }

 private:
  static constexpr int guide_bits = 10;
  static constexpr size_t guides = size_t(1) << guide_bits;
  static constexpr size_t capacity = most_poisson_counts;

  void build(int64_t level, double rate) {
    uint32_t* last = last_.data() + size_t(level) * capacity;
    uint32_t size = 0;
    uint64_t end = 0;
    for (PoissonCounts counts{rate, std::exp(-rate)}; end < all_words; counts.next()) {
      end = counts.end_of_words();
      if (end == 0) continue;
      if (size == 0) first_[size_t(level)] = counts.k;
      RELUME_BUG(size < capacity, "Poisson table of rate ", rate, " is too small");
      last[size++] = uint32_t(end - 1);
    }
    uint8_t* guide = guide_.data() + size_t(level) * guides;
    for (uint32_t g = 0, j = 0; g < guides; ++g) {
      while (g << (32 - guide_bits) > last[j]) ++j;
      guide[g] = uint8_t(j);
    }
  }

  std::vector<uint32_t> last_;
  std::vector<uint8_t> guide_;
  std::vector<uint32_t> first_;
};

// The 8-bit levels of one sample (of its luma when the noise has one channel), and which there are.
std::vector<bool> levels_of(const float* x, int64_t channels, bool luma, const std::array<float, 3>& weight, uint8_t* level,
                            int64_t n) {
  std::array<std::atomic<bool>, levels> seen{};
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    bool here[levels] = {};
    for (int64_t i = begin; i < end; ++i) {
      const float* p = x + i * channels;
      level[i] = level_of(luma ? luma_of(weight, p) : x[i]);
    }
    for (int64_t i = begin; i < end; ++i) here[level[i]] = true;
    for (size_t l = 0; l < levels; ++l)
      if (here[l]) seen[l].store(true, std::memory_order_relaxed);
  });
  return std::vector<bool>(seen.begin(), seen.end());
}

void poisson_noise(const Tensor& noise, const Tensor& x, const Tensor& counts, std::span<const RandomKey> keys,
                   const std::array<float, 3>& luma_weights) {
  const int64_t samples = x.shape(0), n = noise.numel() / samples, channels = x.shape(3);
  const bool luma = noise.shape(3) != channels;
  RELUME_BUG(!luma || channels == 3, "poisson_noise: luma of ", x);
  const Tensor level_buffer = Tensor::empty({n}, DType::u8);
  uint8_t* level = level_buffer.data<uint8_t>();
  for (int64_t s = 0; s < samples; ++s) {
    const std::vector<bool> present =
        levels_of(x.data<float>() + s * x.numel() / samples, channels, luma, luma_weights, level, n);
    const int64_t distinct = std::count(present.begin(), present.end(), true);
    const int64_t values = int64_t(std::bit_ceil(uint64_t(distinct)));
    const float step = 1 / float(values);
    float* to = noise.data<float>() + s * n;
    if (counts) {
      const float* count = counts.data<float>() + s * n;
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = count[i] * step - value_of[level[i]];
      });
      continue;
    }
    const PoissonTables tables(present, values);
    const RandomKey& key = keys[size_t(s)];
    const auto round_key = key.key();
    parallel_for(n, grain, [&](int64_t begin, int64_t end) {  // grain is a multiple of 4 * philox_lanes
      for (int64_t i = begin; i < end; i += 4 * philox_lanes) {
        const PhiloxWords words = philox_blocks(key, round_key, uint64_t(i) / 4);
        const int64_t here = std::min<int64_t>(4 * philox_lanes, end - i);
        for (int64_t k = 0; k < here; ++k)
          to[i + k] = tables.count(level[i + k], words.word[k % 4][k / 4]) * step - value_of[level[i + k]];
      }
    });
  }
}

}  // namespace

void register_picture_noise_kernels() {
  kernels::add_noise.set(DeviceKind::cpu, add_noise);
  kernels::round_to_levels.set(DeviceKind::cpu, round_to_levels);
  kernels::clamp_to_unit.set(DeviceKind::cpu, clamp_to_unit);
  kernels::poisson_noise.set(DeviceKind::cpu, poisson_noise);
}

}  // namespace relume::cpu
