// AdamW with decoupled weight decay (Loshchilov & Hutter 2019), as the official training runs it (spec 2.2, 4.3).
#pragma once

#include <vector>

#include "layers/module.h"

namespace relume {

struct AdamWOptions {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

class AdamW {
 public:
  AdamW(std::vector<NamedTensor> parameters, const AdamWOptions& options);

  // One update from the gradients the parameters carry; one without a gradient stays as it is. `lr` replaces the options' rate
  // (schedules); gradients are multiplied by `gradient_scale` first (clipping, accumulation).
  void step(double lr, double gradient_scale = 1);
  void step() { step(options_.lr); }
  void clear_gradients() const;
  double gradient_norm() const;  // global L2 norm over all parameters

  int64_t steps_done() const { return steps_; }
  void restore_steps(int64_t steps) { steps_ = steps; }  // of a resumed run, whose moments are copied into the two below
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const Tensor& first_moment(size_t i) const { return moments_[i].m; }  // of parameters()[i], in memory layout
  const Tensor& second_moment(size_t i) const { return moments_[i].v; }

 private:
  struct Moments {
    Tensor m, v;
  };
  std::vector<NamedTensor> parameters_;
  std::vector<Moments> moments_;
  AdamWOptions options_;
  int64_t steps_ = 0;
};

}  // namespace relume
