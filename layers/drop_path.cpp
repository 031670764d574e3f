#include "layers/drop_path.h"

#include <string>

#include "tensor/core/philox.h"

namespace relume {

Tensor drop_path_scale(const DropPathDraws& draws, int branch, double probability, int64_t samples, Device device) {
  const std::string purpose = "drop_path." + std::to_string(branch);
  Tensor scale = Tensor::empty({samples});
  for (int64_t i = 0; i < samples; ++i) {
    const RandomKey key{.seed = draws.seed, .purpose = purpose, .step = draws.step, .sample = uint32_t(draws.first_sample + i)};
    const bool keep = philox_uniform(philox4x32(key.counter(0), key.key())[0]) >= float(probability);
    scale.data<float>()[i] = keep ? float(1 / (1 - probability)) : 0.f;
  }
  return scale.to(device);
}

}  // namespace relume
