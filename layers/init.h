// Initialisers, drawn from (seed, parameter name) so that adding a layer does not change the others (design D5).
#pragma once

#include <string>

#include "tensor/core/tensor.h"

namespace relume {

void init_normal(const Tensor& t, double stddev, uint64_t seed, const std::string& name);
void init_uniform(const Tensor& t, double bound, uint64_t seed, const std::string& name);  // U[-bound, bound]
void init_constant(const Tensor& t, double value);

}  // namespace relume
