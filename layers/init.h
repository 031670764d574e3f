// Initialisers, drawn from (seed, parameter name) so that adding a layer does not change the others (design D5).
#pragma once

#include <string>

#include "layers/module.h"

namespace relume {

void init_normal(const Tensor& t, double stddev, uint64_t seed, const std::string& name);
void init_uniform(const Tensor& t, double bound, uint64_t seed, const std::string& name);  // U[-bound, bound]
void init_constant(const Tensor& t, double value);

// Every parameter of the module as the published constructors leave it: weights and biases of convolutions U[-1/sqrt(fan_in),
// 1/sqrt(fan_in)], other tensors of two axes or more normal with deviation 0.02, norms 1 and 0, other biases 0.
void init_parameters(const Module& module, uint64_t seed);

}  // namespace relume
