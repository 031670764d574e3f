// Slots of the optimiser: each over all tensors of a network at once, so that a device takes one launch for them.
#pragma once

#include <memory>
#include <vector>

#include "tensor/core/kernel.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// What an optimiser works on: entry i of every list belongs to parameter i. All of one dtype, f32 (or f64 on the CPU), on one
// device, dense; those of one entry have one shape.
struct OptimizerTensors {
  std::vector<Tensor> parameters, first_moments, second_moments;
  std::vector<Tensor> gradients;  // where one is undefined the parameter and its moments stay as they are
  std::vector<Tensor> averages;   // of the parameters, or empty: none are kept
  // What a backend keeps from call to call (tables of where the tensors lie), in whatever form it likes.
  mutable std::shared_ptr<void> prepared = {};
};

// norm = the L2 norm of all gradients together, squares and their sum in f64; 0 without gradients. norm: f64 [1].
inline Kernel<void(const Tensor& norm, const OptimizerTensors& tensors)> gradient_norm{"gradient_norm"};

struct AdamWStep {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;   // decoupled: parameter *= 1 - lr * weight_decay before the update
  int64_t step = 1;          // 1 for the first step: bias correction
  double clip_norm = 0;      // gradients of a larger norm are scaled down to it; 0: never
  double average_decay = 0;  // of the averages
};

// AdamW (Loshchilov & Hutter 2019), with g the gradient after clipping: m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
// p = p (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps); then of every parameter, with or without gradient,
// average = decay * average + (1 - decay) * p. numbers: f64 [n] on the device; the first is the norm of the gradients, the
// others (losses) matter only in that nothing at all changes unless every one of them is finite. Parameters, moments and
// averages are updated in place. The caller bumps the parameters' versions.
inline Kernel<void(const OptimizerTensors& tensors, const AdamWStep& step, const Tensor& numbers)> adamw{"adamw"};

template <class F> void for_each_optimizer_slot(F&& f) { f(gradient_norm), f(adamw); }

}  // namespace relume::kernels
