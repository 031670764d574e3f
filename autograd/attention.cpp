#include "autograd/attention.h"

#include <array>

namespace relume {

namespace {

void check(const Tensor& x, const WindowAttentionParameters& p, const Tensor& sample_scale) {
  const char* name = "residual_window_attention";
  const WindowAttentionOptions& o = p.options;
  RELUME_CHECK(o.heads >= 1 && o.window >= 1 && o.shift >= 0 && o.shift < o.window, name, ": heads ", o.heads, ", window ",
               o.window, ", shift ", o.shift, " given; expected heads and window from 1, shift from 0 to window - 1");
  RELUME_CHECK(o.mask <= 0, name, ": mask ", o.mask, " given; expected 0 or below");
  RELUME_CHECK(x.rank() == 4 && x.shape(3) % o.heads == 0, name, ": ", x, " given; expected [N, H, W, C] with C a multiple of ",
               o.heads, " heads");
  RELUME_CHECK(x.shape(1) % o.window == 0 && x.shape(2) % o.window == 0, name, ": the map ", x.shape(),
               " cannot be cut into windows of ", o.window, " x ", o.window, "; pad it to a multiple");
  const int64_t side = 2 * o.window - 1, channels = x.shape(3);
  const auto expect = [&](const char* what, const Tensor& t, const Shape& shape, bool required) {
    RELUME_CHECK(t ? t.shape() == shape && t.dtype() == x.dtype() && t.device() == x.device() : !required, name, ": ", what,
                 " ", t, ", expected ", x.dtype(), " ", shape, " for ", x);
  };
  expect("norm weight", p.norm.weight, {channels}, true);
  expect("norm bias", p.norm.bias, {channels}, true);
  expect("qkv weight", p.qkv_weight, {3 * channels, channels}, true);
  expect("qkv bias", p.qkv_bias, {3 * channels}, false);
  expect("table", p.table, {side * side, o.heads}, true);
  expect("projection weight", p.proj_weight, {channels, channels}, true);
  expect("projection bias", p.proj_bias, {channels}, false);
  RELUME_CHECK(!sample_scale || (sample_scale.shape() == Shape{x.shape(0)} && sample_scale.dtype() == DType::f32), name,
               ": sample_scale ", sample_scale, ", expected f32 [", x.shape(0), "]");
}

void check(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  RELUME_CHECK(is_float(q.dtype()) && q.rank() == 3 && o.heads >= 1 && q.shape(2) % o.heads == 0 && q.shape(2) > 0,
               "attention: queries ", q, " given; expected floats [N, L, C] with C a multiple of ", o.heads, " heads");
  RELUME_CHECK(k.rank() == 3 && k.shape(0) == q.shape(0) && k.shape(1) >= 1 && k.shape(2) == q.shape(2) &&
                   k.dtype() == q.dtype() && k.device() == q.device(),
               "attention: keys ", k, ", expected ", q.dtype(), " ", q.device(), " [", q.shape(0), ", S, ", q.shape(2),
               "] with S from 1 for queries ", q);
  RELUME_CHECK(v.shape() == k.shape() && v.dtype() == k.dtype() && v.device() == k.device(), "attention: values ", v,
               " do not fit keys ", k, "; expected the same shape");
  RELUME_CHECK(!o.causal || k.shape(1) == q.shape(1), "attention: causal, with ", q.shape(1), " queries and ", k.shape(1),
               " keys given; expected as many of both");
}

// The queries, keys and values of a packed tensor, as views.
std::array<Tensor, 3> unpacked(const Tensor& qkv) {
  const int64_t channels = qkv.shape(2) / 3;
  return {qkv.columns(0, channels), qkv.columns(channels, 2 * channels), qkv.columns(2 * channels, 3 * channels)};
}

struct Attended {
  Tensor y, lse;
};
Attended attend(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o, bool keep) {
  check(q, k, v, o);
  const Tensor lse =
      keep ? Tensor::empty({q.shape(0), q.shape(1), o.heads}, q.dtype() == DType::f64 ? DType::f64 : DType::f32, q.device())
           : Tensor();
  const Attended result{Tensor::empty(q.shape(), q.dtype(), q.device()), lse};
  kernels::attention_forward.on(q.device())(result.y, lse, q, k, v, o);
  return result;
}

}  // namespace

Tensor residual_window_attention(const Tensor& x, const WindowAttentionParameters& p, const Tensor& sample_scale) {
  check(x, p, sample_scale);
  const bool keep = recording({x, p.norm.weight, p.norm.bias, p.qkv_weight, p.qkv_bias, p.table, p.proj_weight, p.proj_bias});
  const DType wide = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  kernels::ResidualWindowAttention a{
      {p.norm.weight, p.norm.bias, p.norm.eps, keep ? Tensor::empty({x.rows(), 2}, wide, x.device()) : Tensor()},
      p.qkv_weight,
      p.qkv_bias,
      p.table,
      p.proj_weight,
      p.proj_bias,
      p.options,
      sample_scale,
      keep ? Tensor::empty(x.shape().with(3, p.options.heads), wide, x.device()) : Tensor()};
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  kernels::residual_window_attention_forward.on(x.device())(y, x, a);
  return record(
      "residual_window_attention", y,
      {x, p.norm.weight, p.norm.bias, p.qkv_weight, p.qkv_bias, p.table, p.proj_weight, p.proj_bias},
      [x = saved(x), norm_weight = saved(p.norm.weight), norm_bias = saved(p.norm.bias), qkv_weight = saved(p.qkv_weight),
       qkv_bias = saved(p.qkv_bias), table = saved(p.table), proj_weight = saved(p.proj_weight), stats = saved(a.norm.stats),
       lse = saved(a.lse), eps = p.norm.eps, o = p.options, sample_scale](const Tensor& dy, const Needs& needs) -> Grads {
        const auto like = [&](int input, const Saved& t) { return needs(input) ? empty_like(t.get()) : Tensor(); };
        const kernels::ResidualWindowAttentionGradients g{
            like(0, x),           like(1, norm_weight),
            like(2, norm_bias),   like(3, qkv_weight),
            like(4, qkv_bias),    like(5, table),
            like(6, proj_weight), needs(7) ? Tensor::empty({x.get().shape(3)}, dy.dtype(), dy.device()) : Tensor()};
        kernels::residual_window_attention_backward.on(dy.device())(
            g, dy, x,
            {{norm_weight, norm_bias, eps, stats}, qkv_weight, qkv_bias, table, proj_weight, {}, o, sample_scale, lse});
        return {g.dx, g.dnorm_weight, g.dnorm_bias, g.dqkv_weight, g.dqkv_bias, g.dtable, g.dproj_weight, g.dproj_bias};
      });
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  const Attended a = attend(q, k, v, o, recording({q, k, v}));
  return record("attention", a.y, {q, k, v},
                [q = saved(q), k = saved(k), v = saved(v), y = saved(a.y), lse = saved(a.lse), o](const Tensor& dy,
                                                                                                  const Needs& needs) -> Grads {
                  const auto like = [&](int input, const Saved& t) { return needs(input) ? empty_like(t.get()) : Tensor(); };
                  const kernels::AttentionGradients g{like(0, q), like(1, k), like(2, v)};
                  kernels::attention_backward.on(dy.device())(g, dy, y, lse, q, k, v, o);
                  return {g.dq, g.dk, g.dv};
                });
}

Tensor self_attention(const Tensor& qkv, const AttentionOptions& o) {
  RELUME_CHECK(qkv.rank() == 3 && qkv.shape(2) % 3 == 0, "self_attention: ", qkv, " given; expected packed rows [N, L, 3*C]");
  const auto [q, k, v] = unpacked(qkv);
  const Attended a = attend(q, k, v, o, recording({qkv}));
  return record("self_attention", a.y, {qkv},
                [qkv = saved(qkv), y = saved(a.y), lse = saved(a.lse), o](const Tensor& dy, const Needs&) -> Grads {
                  const auto [queries, keys, values] = unpacked(qkv);
                  const Tensor dqkv = empty_like(qkv.get());
                  const auto [dq, dk, dv] = unpacked(dqkv);
                  kernels::attention_backward.on(dy.device())({dq, dk, dv}, dy, y, lse, queries, keys, values, o);
                  return {dqkv};
                });
}

}  // namespace relume
