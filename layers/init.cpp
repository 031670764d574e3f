#include "layers/init.h"

#include <cmath>

#include "tensor/kernels/memory.h"
#include "tensor/kernels/random.h"

namespace relume {

void init_normal(const Tensor& t, double stddev, uint64_t seed, const std::string& name) {
  kernels::fill_normal.on(t.device())(t, 0, stddev, {.seed = seed, .purpose = "init." + name});
  t.storage()->bump_version();
}

void init_uniform(const Tensor& t, double bound, uint64_t seed, const std::string& name) {
  kernels::fill_uniform.on(t.device())(t, -bound, bound, {.seed = seed, .purpose = "init." + name});
  t.storage()->bump_version();
}

void init_constant(const Tensor& t, double value) {
  kernels::fill.on(t.device())(t, value);
  t.storage()->bump_version();
}

void init_parameters(const Module& module, uint64_t seed) {
  int64_t fan_in = 1;  // of the convolution whose bias comes next
  bool after_conv = false;
  for (const NamedTensor& p : module.parameters()) {
    const Tensor& t = p.tensor;
    if (t.rank() == 4) fan_in = t.numel() / t.shape(0);
    if (t.rank() == 4 || (after_conv && p.name.ends_with("bias"))) {
      init_uniform(t, 1 / std::sqrt(double(fan_in)), seed, p.name);
    } else if (t.rank() >= 2) {
      init_normal(t, 0.02, seed, p.name);
    } else {
      init_constant(t, p.name.ends_with("weight") ? 1 : 0);
    }
    after_conv = t.rank() == 4;
  }
}

}  // namespace relume
