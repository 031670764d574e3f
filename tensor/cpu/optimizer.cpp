#include "tensor/kernels/optimizer.h"

#include <cmath>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"

namespace relume::cpu {
namespace {

// In the order of PyTorch's single-tensor AdamW, scalars computed in double and rounded once, so that trajectories agree.
template <class T> void adamw(const Tensor& parameter, const Tensor& m_in, const Tensor& v_in, const Tensor& gradient,
                              const kernels::AdamWStep& step) {
  const T decay = T(1 - step.lr * step.weight_decay), scale = T(step.gradient_scale), eps = T(step.eps);
  const T beta2 = T(step.beta2), toward_g = T(1 - step.beta1), toward_square = T(1 - step.beta2);
  const T step_size = T(step.lr / (1 - std::pow(step.beta1, double(step.step))));
  const T root_correction = T(std::sqrt(1 - std::pow(step.beta2, double(step.step))));
  T *p = parameter.data<T>(), *m = m_in.data<T>(), *v = v_in.data<T>();
  const T* g_in = gradient.data<T>();
  parallel_for(parameter.numel(), grain, [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const T g = g_in[i] * scale;
      m[i] += toward_g * (g - m[i]);
      v[i] = v[i] * beta2 + toward_square * g * g;
      p[i] = p[i] * decay - step_size * m[i] / (std::sqrt(v[i]) / root_correction + eps);
    }
  });
}

void adamw_step(const Tensor& parameter, const Tensor& m, const Tensor& v, const Tensor& gradient,
                const kernels::AdamWStep& step) {
  RELUME_BUG(step.step >= 1, "AdamW step ", step.step);
  for (const Tensor* t : {&m, &v, &gradient})
    RELUME_BUG(t->numel() == parameter.numel() && t->is_dense(), "AdamW of ", parameter, " with ", *t);
  if (parameter.dtype() == DType::f64) return adamw<double>(parameter, m, v, gradient, step);
  adamw<float>(parameter, m, v, gradient, step);
}

}  // namespace

void register_optimizer_kernels() { kernels::adamw_step.set(DeviceKind::cpu, adamw_step); }

}  // namespace relume::cpu
