#include "tensor/kernels/random.h"

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/philox_blocks.h"
#include "tensor/scalar/normal.h"

namespace relume::cpu {
namespace {

constexpr int lanes = philox_lanes;

// out[4 b + w] = value w of block b, where make(words, values) turns `lanes` blocks into their 4 x lanes values.
template <class T, class Make> void fill_blocks(const Tensor& out, const RandomKey& key, Make&& make) {
  RELUME_BUG(out.is_dense(), "random fill of the pitched ", out);
  T* to = out.data<T>();
  const auto round_key = key.key();
  parallel_for(out.numel(), grain, [&](int64_t begin, int64_t end) {  // grain is a multiple of 4 * lanes
    for (int64_t i = begin; i < end; i += 4 * lanes) {
      T values[4][lanes];
      make(philox_blocks(key, round_key, uint64_t(i) / 4), values);
      if (end - i >= 4 * lanes) {
        T* const block = to + i;
        for (int l = 0; l < lanes; ++l)
          for (int w = 0; w < 4; ++w) block[4 * l + w] = values[w][l];
      } else {
        for (int64_t k = 0; k < end - i; ++k) to[i + k] = values[k % 4][k / 4];
      }
    }
  });
}

template <class T> void uniform(const Tensor& out, double low_in, double high, const RandomKey& key) {
  const T low = T(low_in), range = T(high - low_in);
  fill_blocks<T>(out, key, [=](const PhiloxWords& words, T(&values)[4][lanes]) {
    for (int w = 0; w < 4; ++w)
#pragma omp simd
      for (int l = 0; l < lanes; ++l) values[w][l] = math::fma(range, T(philox_uniform(words.word[w][l])), low);
  });
}

template <class T> void normal(const Tensor& out, double mean_in, double stddev_in, const RandomKey& key) {
  const T mean = T(mean_in), stddev = T(stddev_in);
  fill_blocks<T>(out, key, [=](const PhiloxWords& words, T(&values)[4][lanes]) {
    for (int pair = 0; pair < 4; pair += 2)
#pragma omp simd
      for (int l = 0; l < lanes; ++l) {
        T z0, z1;
        box_muller(words.word[pair][l], words.word[pair + 1][l], z0, z1);
        values[pair][l] = math::fma(stddev, z0, mean);
        values[pair + 1][l] = math::fma(stddev, z1, mean);
      }
  });
}

void fill_uniform(const Tensor& out, double low, double high, const RandomKey& key) {
  out.dtype() == DType::f64 ? uniform<double>(out, low, high, key) : uniform<float>(out, low, high, key);
}
void fill_normal(const Tensor& out, double mean, double stddev, const RandomKey& key) {
  out.dtype() == DType::f64 ? normal<double>(out, mean, stddev, key) : normal<float>(out, mean, stddev, key);
}

}  // namespace

void register_random_kernels() {
  kernels::fill_uniform.set(DeviceKind::cpu, fill_uniform);
  kernels::fill_normal.set(DeviceKind::cpu, fill_normal);
}

}  // namespace relume::cpu
