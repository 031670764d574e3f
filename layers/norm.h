// Normalisation layers.
#pragma once

#include <vector>

#include "autograd/matmul.h"
#include "autograd/norm.h"
#include "layers/module.h"

namespace relume {

class LayerNorm : public Module {
 public:
  LayerNorm(Module* parent, std::string name, int64_t channels, double eps = 1e-5)
      : Module(parent, std::move(name)),
        weight(parameter("weight", {channels})),
        bias(parameter("bias", {channels})),
        eps_(eps) {}

  Tensor operator()(const Tensor& x) const {
    return with_path([&] { return layer_norm(x, parameter_for(x, weight), parameter_for(x, bias), eps_); });
  }

  // For an operation on x that the norm is fused into.
  NormParameters parameters_for(const Tensor& x) const { return {parameter_for(x, weight), parameter_for(x, bias), eps_}; }

  Tensor weight, bias;

 private:
  double eps_;
};

// GroupNorm of maps [N, ..., channels], with the activation of the options behind it.
class GroupNorm : public Module {
 public:
  GroupNorm(Module* parent, std::string name, int64_t channels, GroupNormOptions options = {})
      : Module(parent, std::move(name)),
        weight(parameter("weight", {channels})),
        bias(parameter("bias", {channels})),
        options_(options) {}

  Tensor operator()(const Tensor& x) const {
    return with_path([&] { return group_norm(x, parameter_for(x, weight), parameter_for(x, bias), options_); });
  }

  // The same by statistics from elsewhere, as where a map is normalised in pieces: of each group, for x [1, H, W, channels].
  struct Statistics {
    std::vector<double> mean, variance;
  };
  Statistics statistics(const Tensor& x) const;  // of x itself
  Tensor by(const Statistics& statistics, const Tensor& x) const;

  Tensor weight, bias;

 private:
  GroupNormOptions options_;
};

}  // namespace relume
