// AdamW with decoupled weight decay (Loshchilov & Hutter 2019), as the official training runs it (spec 2.2, 4.3).
#pragma once

#include <span>
#include <vector>

#include "layers/module.h"
#include "tensor/kernels/optimizer.h"
#include "train/weight_average.h"

namespace relume {

struct AdamWOptions {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double clip_norm = 0;  // gradients of a larger norm over all parameters are scaled down to it; 0: never
};

class AdamW {
 public:
  // What the host learns of a step.
  struct Outcome {
    double gradient_norm = 0;    // L2, over all parameters, before clipping
    std::vector<double> losses;  // those given
    bool done = false;           // false: one of these numbers is not finite, and nothing has changed
  };

  // The parameters are all on one device.
  AdamW(std::vector<NamedTensor> parameters, const AdamWOptions& options);

  // One update from the gradients the parameters carry; one without a gradient stays as it is. `lr` replaces the options' rate
  // (schedules). `losses` are numbers on the parameters' device that have to be finite for a step to be taken. The average
  // follows, unless null: it is one of these parameters. The device decides by itself; the host waits for it once, at the end,
  // for the outcome.
  Outcome step(double lr, std::span<const Tensor> losses = {}, const WeightAverage* average = nullptr);
  Outcome step() { return step(options_.lr); }
  void clear_gradients() const;

  int64_t steps_done() const { return steps_; }
  void restore_steps(int64_t steps) { steps_ = steps; }  // of a resumed run, whose moments are copied into the two below
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const Tensor& first_moment(size_t i) const { return tensors_.first_moments[i]; }  // of parameters()[i], in memory layout
  const Tensor& second_moment(size_t i) const { return tensors_.second_moments[i]; }

 private:
  std::vector<NamedTensor> parameters_;
  kernels::OptimizerTensors tensors_;  // gradients and averages during a step only
  AdamWOptions options_;
  int64_t steps_ = 0;
};

}  // namespace relume
