#include "train/adamw.h"

#include <cmath>

#include "tensor/kernels/optimizer.h"
#include "tensor/kernels/reduce.h"

namespace relume {

AdamW::AdamW(std::vector<NamedTensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const NamedTensor& p : parameters_) moments_.push_back({zeros_like(p.tensor), zeros_like(p.tensor)});
}

void AdamW::step(double lr, double gradient_scale) {
  ++steps_;
  const kernels::AdamWStep update{.lr = lr,
                                  .beta1 = options_.beta1,
                                  .beta2 = options_.beta2,
                                  .eps = options_.eps,
                                  .weight_decay = options_.weight_decay,
                                  .step = steps_,
                                  .gradient_scale = gradient_scale};
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& p = parameters_[i].tensor;
    const Tensor g = grad(p);
    if (!g) continue;
    kernels::adamw_step.on(p.device())(p, moments_[i].m, moments_[i].v, g, update);
    p.storage()->bump_version();
  }
}

void AdamW::clear_gradients() const {
  for (const NamedTensor& p : parameters_) clear_grad(p.tensor);
}

double AdamW::gradient_norm() const {
  double sum = 0;
  for (const NamedTensor& p : parameters_) {
    const Tensor g = grad(p.tensor);
    if (!g) continue;
    const Tensor square = Tensor::empty({}, DType::f64, g.device());
    kernels::squared_error.on(g.device())(square, g, {});
    sum += square.item();
  }
  return std::sqrt(sum);
}

}  // namespace relume
