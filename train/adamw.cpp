#include "train/adamw.h"

#include <algorithm>
#include <cmath>

#include "tensor/kernels/memory.h"

namespace relume {

AdamW::AdamW(std::vector<NamedTensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const NamedTensor& p : parameters_) {
    tensors_.parameters.push_back(p.tensor.detach());
    tensors_.first_moments.push_back(zeros_like(p.tensor));
    tensors_.second_moments.push_back(zeros_like(p.tensor));
  }
}

AdamW::Outcome AdamW::step(double lr, std::span<const Tensor> losses, const WeightAverage* average) {
  const Device device = parameters_.empty() ? Device{} : parameters_[0].tensor.device();
  const Tensor numbers = Tensor::empty({1 + int64_t(losses.size())}, DType::f64, device);  // the norm, then the losses
  for (size_t i = 0; i < losses.size(); ++i)
    kernels::copy.on(device)(numbers.slice(int64_t(i) + 1, int64_t(i) + 2), losses[i].reshape({1}));
  tensors_.gradients.resize(parameters_.size());
  for (size_t i = 0; i < parameters_.size(); ++i) tensors_.gradients[i] = grad(parameters_[i].tensor);
  tensors_.averages = average ? average->averages() : std::vector<Tensor>();
  kernels::gradient_norm.on(device)(numbers.slice(0, 1), tensors_);
  kernels::adamw.on(device)(tensors_,
                            {.lr = lr,
                             .beta1 = options_.beta1,
                             .beta2 = options_.beta2,
                             .eps = options_.eps,
                             .weight_decay = options_.weight_decay,
                             .step = steps_ + 1,
                             .clip_norm = options_.clip_norm,
                             .average_decay = average ? average->decay() : 0},
                            numbers);
  const Tensor host = numbers.to(Device{});
  const double *begin = host.data<double>(), *end = begin + host.numel();
  const bool done = std::all_of(begin, end, [](double x) { return std::isfinite(x); });
  for (size_t i = 0; done && i < parameters_.size(); ++i)
    if (tensors_.gradients[i]) parameters_[i].tensor.storage()->bump_version();
  steps_ += done;
  tensors_.gradients.clear(), tensors_.averages.clear();  // else their memory would stay until the next step
  return {*begin, {begin + 1, end}, done};
}

void AdamW::clear_gradients() const {
  for (const NamedTensor& p : parameters_) clear_grad(p.tensor);
}

}  // namespace relume
