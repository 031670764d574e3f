#include "models/diffusion/noise.h"

#include "tensor/kernels/random.h"

namespace relume {

Tensor standard_normal(const Shape& shape, DType dtype, Device device, const RandomKey& key) {
  const Tensor out = Tensor::empty(shape, dtype, device);
  RandomKey sample_key = key;
  for (int64_t n = 0; n < shape[0]; ++n) {
    sample_key.sample = key.sample + uint32_t(n);
    kernels::fill_normal.on(device)(out.slice(n, n + 1), 0, 1, sample_key);
  }
  return out;
}

NoiseSource seeded_noise(const Shape& shape, DType dtype, Device device, uint64_t seed, uint32_t first_sample) {
  return [=](int64_t draw) {
    const RandomKey key{.seed = seed, .purpose = "sampling", .step = uint32_t(draw), .sample = first_sample};
    return standard_normal(shape, dtype, device, key);
  };
}

}  // namespace relume
