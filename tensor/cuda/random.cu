#include "tensor/kernels/random.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/random_stream.h"
#include "tensor/scalar/normal.h"

namespace relume::cuda {
namespace {

struct Uniform {
  float low, range;
  __device__ void operator()(const std::array<uint32_t, 4>& words, float (&values)[4]) const {
    for (int w = 0; w < 4; ++w) values[w] = math::fma(range, philox_uniform(words[w]), low);
  }
};
struct Normal {
  float mean, stddev;
  __device__ void operator()(const std::array<uint32_t, 4>& words, float (&values)[4]) const {
    for (int pair = 0; pair < 4; pair += 2) {
      float z0, z1;
      box_muller(words[pair], words[pair + 1], z0, z1);
      values[pair] = math::fma(stddev, z0, mean);
      values[pair + 1] = math::fma(stddev, z1, mean);
    }
  }
};

// A thread makes the four numbers of a block.
template <class Make> static __global__ void fill_blocks(int64_t count, float* out, Stream stream, Make make) {
  for_each_item((count + 3) / 4, [&](int64_t block) {
    float values[4];
    make(stream.block(block), values);
    for (int64_t i = 4 * block; i < std::min(count, 4 * block + 4); ++i) out[i] = values[i - 4 * block];
  });
}

template <class Make> void fill(const char* name, const Tensor& out, const RandomKey& key, Make make) {
  RELUME_BUG(out.is_dense(), "random fill of the pitched ", out);
  if (out.numel() == 0) return;
  launch(name, fill_blocks<Make>, loop_grid((out.numel() + 3) / 4, out.device()), loop_threads, 0, stream(out.device()),
         out.numel(), out.data<float>(), Stream(key), make);
}

void fill_uniform(const Tensor& out, double low, double high, const RandomKey& key) {
  fill("fill_uniform", out, key, Uniform{float(low), float(high - low)});
}
void fill_normal(const Tensor& out, double mean, double stddev, const RandomKey& key) {
  fill("fill_normal", out, key, Normal{float(mean), float(stddev)});
}

}  // namespace

void register_random_kernels() {
  kernels::fill_uniform.set(DeviceKind::cuda, fill_uniform);
  kernels::fill_normal.set(DeviceKind::cuda, fill_normal);
}

}  // namespace relume::cuda
