#include "tensor/kernels/optimizer.h"

#include <cmath>

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/scalar/math.h"

namespace relume::cuda {
namespace {

// The scalars of a step, computed in double and rounded once, as on the CPU.
struct Step {
  explicit Step(const kernels::AdamWStep& s)
      : decay(float(1 - s.lr * s.weight_decay)),
        scale(float(s.gradient_scale)),
        eps(float(s.eps)),
        beta2(float(s.beta2)),
        toward_g(float(1 - s.beta1)),
        toward_square(float(1 - s.beta2)),
        step_size(float(s.lr / (1 - std::pow(s.beta1, double(s.step))))),
        root_correction(float(std::sqrt(1 - std::pow(s.beta2, double(s.step))))) {}
  __device__ void operator()(float& p, float& m, float& v, float gradient) const {
    const float g = gradient * scale;
    m += toward_g * (g - m);
    v = v * beta2 + toward_square * g * g;
    p = p * decay - step_size * m / (math::sqrt(v) / root_correction + eps);
  }
  float decay, scale, eps, beta2, toward_g, toward_square, step_size, root_correction;
};

constexpr int step_pack = 4;
using Floats = Pack<float, step_pack>;

static __global__ void adamw(int64_t count, float* p, float* m, float* v, const float* g, Step step) {
  for_each_item((count + step_pack - 1) / step_pack, [&](int64_t i) {
    const int64_t first = i * step_pack;
    if (first + step_pack <= count) {
      Floats &to = *reinterpret_cast<Floats*>(p + first), &to_m = *reinterpret_cast<Floats*>(m + first),
             &to_v = *reinterpret_cast<Floats*>(v + first);
      Floats new_p = to, new_m = to_m, new_v = to_v;
      const Floats gradient = *reinterpret_cast<const Floats*>(g + first);
      for (int k = 0; k < step_pack; ++k) step(new_p.at[k], new_m.at[k], new_v.at[k], gradient.at[k]);
      to = new_p, to_m = new_m, to_v = new_v;
    } else {
      for (int64_t k = first; k < count; ++k) step(p[k], m[k], v[k], g[k]);
    }
  });
}

void adamw_step(const Tensor& parameter, const Tensor& m, const Tensor& v, const Tensor& gradient,
                const kernels::AdamWStep& step) {
  RELUME_BUG(step.step >= 1, "AdamW step ", step.step);
  for (const Tensor* t : {&parameter, &m, &v, &gradient})
    RELUME_BUG(t->numel() == parameter.numel() && t->is_dense() && reinterpret_cast<uintptr_t>(t->raw()) % 16 == 0, "AdamW of ",
               parameter, " with ", *t);
  if (parameter.numel() == 0) return;
  launch("adamw_step", adamw, loop_grid((parameter.numel() + step_pack - 1) / step_pack, parameter.device()), loop_threads, 0,
         stream(parameter.device()), parameter.numel(), parameter.data<float>(), m.data<float>(), v.data<float>(),
         gradient.data<float>(), Step(step));
}

}  // namespace

void register_optimizer_kernels() { kernels::adamw_step.set(DeviceKind::cuda, adamw_step); }

}  // namespace relume::cuda
