#include "tensor/kernels/optimizer.h"

#include <algorithm>
#include <cmath>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/reduce.h"

namespace relume::cpu {
namespace {

using kernels::AdamWStep, kernels::OptimizerTensors;

void gradient_norm(const Tensor& norm, const OptimizerTensors& tensors) {
  const Tensor square = Tensor::empty({}, DType::f64);
  double sum = 0;
  for (const Tensor& gradient : tensors.gradients) {
    if (!gradient) continue;
    kernels::squared_error.on({})(square, gradient, {});
    sum += *square.data<double>();
  }
  *norm.data<double>() = std::sqrt(sum);
}

// In the order of PyTorch's single-tensor AdamW, scalars computed in double and rounded once, so that trajectories agree.
template <class T> void update(const OptimizerTensors& tensors, size_t index, const AdamWStep& step, double gradient_scale) {
  const T decay = T(1 - step.lr * step.weight_decay), scale = T(gradient_scale), eps = T(step.eps);
  const T beta2 = T(step.beta2), toward_g = T(1 - step.beta1), toward_square = T(1 - step.beta2);
  const T step_size = T(step.lr / (1 - std::pow(step.beta1, double(step.step))));
  const T root_correction = T(std::sqrt(1 - std::pow(step.beta2, double(step.step))));
  T *p = tensors.parameters[index].data<T>(), *m = tensors.first_moments[index].data<T>(),
    *v = tensors.second_moments[index].data<T>();
  const T* g_in = tensors.gradients[index].data<T>();
  parallel_for(tensors.parameters[index].numel(), grain, [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const T g = g_in[i] * scale;
      m[i] += toward_g * (g - m[i]);
      v[i] = v[i] * beta2 + toward_square * g * g;
      p[i] = p[i] * decay - step_size * m[i] / (std::sqrt(v[i]) / root_correction + eps);
    }
  });
}

void update_one(const OptimizerTensors& tensors, size_t i, const AdamWStep& step, double gradient_scale) {
  const Tensor& p = tensors.parameters[i];
  for (const Tensor* t : {&tensors.first_moments[i], &tensors.second_moments[i], &tensors.gradients[i]})
    RELUME_BUG(t->numel() == p.numel() && t->is_dense(), "AdamW of ", p, " with ", *t);
  p.dtype() == DType::f64 ? update<double>(tensors, i, step, gradient_scale) : update<float>(tensors, i, step, gradient_scale);
}

void adamw(const OptimizerTensors& tensors, const AdamWStep& step, const Tensor& numbers) {
  RELUME_BUG(step.step >= 1, "AdamW step ", step.step);
  const double* const all = numbers.data<double>();
  if (!std::all_of(all, all + numbers.numel(), [](double x) { return std::isfinite(x); })) return;
  const double norm = all[0], scale = step.clip_norm > 0 && norm > step.clip_norm ? step.clip_norm / norm : 1;
  for (size_t i = 0; i < tensors.parameters.size(); ++i) {
    if (tensors.gradients[i]) update_one(tensors, i, step, scale);
    if (tensors.averages.empty()) continue;
    const Tensor& average = tensors.averages[i];
    kernels::axpby.on({})(average, step.average_decay, average, 1 - step.average_decay, tensors.parameters[i]);
  }
}

}  // namespace

void register_optimizer_kernels() {
  kernels::gradient_norm.set(DeviceKind::cpu, gradient_norm);
  kernels::adamw.set(DeviceKind::cpu, adamw);
}

}  // namespace relume::cpu
