// A GroupNorm as the tests of its slots on the CPU and on other devices call it.
#pragma once

#include "tensor/kernels/norm.h"
#include "tests/support/numbers.h"

namespace relume::test {

struct GroupNormOutcome {
  Tensor y, stats, dx, dweight, dbias;
};

struct GroupNormInputs {
  // x is U[low, high).
  GroupNormInputs(const Shape& map, const kernels::GroupNormOptions& o, double low = -3, double high = 5)
      : x(uniform(map, 1, low, high)),
        weight(uniform({map[-1]}, 2)),
        bias(uniform({map[-1]}, 3)),
        dy(uniform(map, 4)),
        options(o) {}

  // The same numbers elsewhere: f of each tensor.
  template <class F> GroupNormInputs with(F&& f) const {
    GroupNormInputs moved = *this;
    for (Tensor* t : {&moved.x, &moved.weight, &moved.bias, &moved.dy}) *t = f(*t);
    return moved;
  }

  GroupNormOutcome run() const {
    const DType statistic = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
    const GroupNormOutcome out{.y = empty_like(x),
                               .stats = Tensor::empty({x.shape(0), options.groups, 2}, statistic, x.device()),
                               .dx = empty_like(x),
                               .dweight = empty_like(weight),
                               .dbias = empty_like(bias)};
    kernels::group_norm_forward.on(x.device())(out.y, out.stats, x, weight, bias, options);
    kernels::group_norm_backward.on(x.device())(out.dx, out.dweight, out.dbias, dy, x, out.stats, weight, bias, options);
    return out;
  }

  // In f64.
  GroupNormOutcome exact() const {
    return with([](const Tensor& t) { return t.to(DType::f64); }).run();
  }

  Tensor x, weight, bias, dy;
  kernels::GroupNormOptions options;
};

// Calls f(name, tensor of a, tensor of b) for each of the results.
template <class F> void for_each_result(const GroupNormOutcome& a, const GroupNormOutcome& b, F&& f) {
  f("y", a.y, b.y), f("stats", a.stats, b.stats), f("dx", a.dx, b.dx), f("dweight", a.dweight, b.dweight);
  f("dbias", a.dbias, b.dbias);
}

}  // namespace relume::test
