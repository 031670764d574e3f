#include "autograd/elementwise.h"

#include "tensor/kernels/elementwise.h"

namespace relume {

namespace {
void check_alike(const char* name, const Tensor& x, const Tensor& y) {
  RELUME_CHECK(x.shape() == y.shape() && x.dtype() == y.dtype() && x.device() == y.device() && is_float(x.dtype()), name, ": ",
               x, " and ", y, " given; expected float tensors of one shape, dtype and device");
}

// a * x + b * y
Tensor combine(const char* name, double a, const Tensor& x, double b, const Tensor& y) {
  check_alike(name, x, y);
  Tensor out = empty_like(x);
  kernels::axpby.on(x.device())(out, a, x, b, y);
  return record(name, out, {x, y}, [a, b](const Tensor& dy, const Needs& needs) -> Grads {
    const auto scaled = [&](double factor) {
      if (factor == 1) return dy;
      Tensor g = empty_like(dy);
      kernels::axpby.on(dy.device())(g, factor, dy, 0, {});
      return g;
    };
    return {needs(0) ? scaled(a) : Tensor(), needs(1) ? scaled(b) : Tensor()};
  });
}
}  // namespace

Tensor activate(const Tensor& x, Activation act) {  // saves x
  RELUME_CHECK(is_float(x.dtype()), name_of(act.kind), ": expects a float tensor, got ", x);
  Tensor y = empty_like(x);
  kernels::activation_forward.on(x.device())(y, x, act);
  return record(name_of(act.kind), y, {x}, [act, x = saved(x)](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(dy);
    kernels::activation_backward.on(dy.device())(dx, dy, x, act);
    return {dx};
  });
}

Tensor gated_activation(const Tensor& x, Activation act) {
  RELUME_CHECK(is_float(x.dtype()) && x.rank() >= 1 && x.shape(-1) % 2 == 0, "gated_activation: ", x,
               " given; expected a float tensor [..., 2 C]");
  Tensor y = Tensor::empty(x.shape().with(-1, x.shape(-1) / 2), x.dtype(), x.device());
  kernels::gated_activation_forward.on(x.device())(y, x, act);
  return record("gated_activation", y, {x}, [act, x = saved(x)](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(x.get());
    kernels::gated_activation_backward.on(dy.device())(dx, dy, x, act);
    return {dx};
  });
}

Tensor clamp(const Tensor& x, double low, double high) {  // saves x
  RELUME_CHECK(is_float(x.dtype()) && low <= high, "clamp: ", x, " to [", low, ", ", high,
               "] given; expected a float tensor and a range that is not empty");
  Tensor y = empty_like(x);
  kernels::clamp_forward.on(x.device())(y, x, low, high);
  return record("clamp", y, {x}, [low, high, x = saved(x)](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(dy);
    kernels::clamp_backward.on(dy.device())(dx, dy, x, low, high);
    return {dx};
  });
}

Tensor exp(const Tensor& x) {
  RELUME_CHECK(is_float(x.dtype()), "exp: expects a float tensor, got ", x);
  Tensor y = empty_like(x);
  kernels::exponential.on(x.device())(y, x);
  return record("exp", y, {x}, [y = saved(y)](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(dy);
    kernels::multiply.on(dy.device())(dx, dy, y);
    return {dx};
  });
}

Tensor add(const Tensor& x, const Tensor& y) { return combine("add", 1, x, 1, y); }
Tensor sub(const Tensor& x, const Tensor& y) { return combine("sub", 1, x, -1, y); }

Tensor mul(const Tensor& x, const Tensor& y) {  // saves both
  check_alike("mul", x, y);
  Tensor out = empty_like(x);
  kernels::multiply.on(x.device())(out, x, y);
  return record("mul", out, {x, y}, [x = saved(x), y = saved(y)](const Tensor& dy, const Needs& needs) -> Grads {
    const auto times = [&](const Tensor& other) {
      Tensor g = empty_like(dy);
      kernels::multiply.on(dy.device())(g, dy, other);
      return g;
    };
    return {needs(0) ? times(y) : Tensor(), needs(1) ? times(x) : Tensor()};
  });
}

Tensor scale(const Tensor& x, double factor) {
  RELUME_CHECK(is_float(x.dtype()), "scale: expects a float tensor, got ", x);
  Tensor y = empty_like(x);
  kernels::axpby.on(x.device())(y, factor, x, 0, {});
  return record("scale", y, {x}, [factor](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(dy);
    kernels::axpby.on(dy.device())(dx, factor, dy, 0, {});
    return {dx};
  });
}

Tensor cast(const Tensor& x, DType dtype) {
  RELUME_CHECK(is_float(x.dtype()) && is_float(dtype), "cast: ", x, " to ", dtype, "; expected float types");
  if (x.dtype() == dtype) return x;
  return record("cast", x.to(dtype), {x},
                [dtype = x.dtype()](const Tensor& dy, const Needs&) -> Grads { return {dy.to(dtype)}; });
}

Tensor add_rows(const Tensor& x, const Tensor& table) {
  RELUME_CHECK(x.rank() >= 1 && table.rank() >= 1 && x.shape(-1) == table.shape(-1) && table.rows() > 0 &&
                   x.rows() % table.rows() == 0 && x.dtype() == table.dtype(),
               "add_rows: ", table, " cannot be repeated over the rows of ", x);
  Tensor y = empty_like(x);
  kernels::add_rows.on(x.device())(y, x, table);
  return record("add_rows", y, {x, table}, [shape = table.shape()](const Tensor& dy, const Needs& needs) -> Grads {
    Tensor dtable;
    if (needs(1)) {
      dtable = Tensor::empty(shape, dy.dtype(), dy.device());
      kernels::sum_rows.on(dy.device())(dtable, dy);
    }
    return {needs(0) ? dy : Tensor(), dtable};
  });
}

Tensor add_per_sample(const Tensor& x, const Tensor& table) {
  RELUME_CHECK(x.rank() >= 2 && table.shape() == Shape({x.shape(0), x.shape(-1)}) && x.dtype() == table.dtype() &&
                   x.device() == table.device(),
               "add_per_sample: table ", table, " given for ", x, "; expected a row [C] for each sample of [N, ..., C]");
  Tensor y = empty_like(x);
  for (int64_t n = 0; n < x.shape(0); ++n)
    kernels::add_rows.on(x.device())(y.slice(n, n + 1), x.slice(n, n + 1), table.slice(n, n + 1));
  return record("add_per_sample", y, {x, table}, [shape = table.shape()](const Tensor& dy, const Needs& needs) -> Grads {
    Tensor dtable;
    if (needs(1)) {
      dtable = Tensor::empty(shape, dy.dtype(), dy.device());
      for (int64_t n = 0; n < shape[0]; ++n) kernels::sum_rows.on(dy.device())(dtable.slice(n, n + 1), dy.slice(n, n + 1));
    }
    return {needs(0) ? dy : Tensor(), dtable};
  });
}

Tensor channel_affine(const Tensor& x, const std::vector<double>& scale, const std::vector<double>& shift) {
  const int64_t channels = x.shape(-1);
  RELUME_CHECK(int64_t(scale.size()) == channels && (shift.empty() || shift.size() == scale.size()),
               "channel_affine: ", scale.size(), " factors and ", shift.size(), " offsets given for ", x);
  const Tensor factors = Tensor::of({channels}, scale), offsets = shift.empty() ? Tensor() : Tensor::of({channels}, shift);
  Tensor y = empty_like(x);
  kernels::channel_affine.on(x.device())(y, x, factors, offsets);
  return record("channel_affine", y, {x}, [factors](const Tensor& dy, const Needs&) -> Grads {
    Tensor dx = empty_like(dy);
    kernels::channel_affine.on(dy.device())(dx, dy, factors, {});
    return {dx};
  });
}

}  // namespace relume
