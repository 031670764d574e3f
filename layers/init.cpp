#include "layers/init.h"

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

}  // namespace relume
