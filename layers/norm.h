// Normalisation layers.
#pragma once

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

  // For maps that are normalised in pieces, with nothing recorded for gradients. stats() gives [N, groups, 2], the mean of each
  // group and the inverse of its deviation; apply() writes to y, which may be x, what becomes of x by such statistics.
  Tensor stats(const Tensor& x) const;
  void apply(const Tensor& y, const Tensor& x, const Tensor& stats) const;

  Tensor weight, bias;

 private:
  GroupNormOptions options_;
};

}  // namespace relume
