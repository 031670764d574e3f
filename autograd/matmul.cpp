#include "autograd/matmul.h"

#include "tensor/kernels/matmul.h"

namespace relume {

namespace {

void check_norm(const char* name, const Tensor& x, const NormParameters& norm) {
  RELUME_CHECK(!norm.weight || (norm.weight.shape() == Shape{x.shape(-1)} && norm.bias &&
                                norm.bias.shape() == norm.weight.shape() && norm.weight.dtype() == x.dtype()),
               name, ": norm weight ", norm.weight, " and bias ", norm.bias, " do not fit the last axis of ", x);
}

void check_scale(const char* name, const Tensor& x, const Tensor& scale) {
  RELUME_CHECK(!scale || (scale.shape() == Shape{x.shape(0)} && scale.dtype() == DType::f32 && scale.device() == x.device()),
               name, ": sample_scale ", scale, ", expected f32 ", x.device(), " [", x.shape(0), "]");
}

void check_product(const char* name, const Tensor& x, const Tensor& w, const Tensor& bias) {
  RELUME_CHECK(
      w.rank() == 2 && x.rank() >= 1 && x.shape(-1) == w.shape(1) && x.dtype() == w.dtype() && x.device() == w.device(), name,
      ": input ", x, " does not fit weight ", w, " (expected [..., ", w.rank() == 2 ? w.shape(1) : -1, "])");
  RELUME_CHECK(!bias || (bias.rank() == 1 && bias.shape(0) == w.shape(0) && bias.dtype() == w.dtype()), name, ": bias ", bias,
               " does not fit weight ", w);
}

Tensor statistics_for(const Tensor& x) {
  return Tensor::empty({x.rows(), 2}, x.dtype() == DType::f64 ? DType::f64 : DType::f32, x.device());
}

Tensor like_if(bool wanted, const Saved& t) { return wanted ? empty_like(t.get()) : Tensor(); }

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const LinearOptions& o) {
  check_product("linear", x, w, bias);
  const Shape shape = x.shape().with(-1, w.shape(0));
  RELUME_CHECK(!o.residual || (o.residual.shape() == shape && o.residual.dtype() == x.dtype()), "linear: residual ", o.residual,
               ", expected ", shape);
  check_scale("linear", x, o.sample_scale);
  check_norm("linear", x, o.norm);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const bool keep = recording({x, w, bias, o.norm.weight, o.norm.bias});
  const Tensor pre = keep && o.act.kind != ActivationKind::none ? empty_like(y) : Tensor();
  const Tensor stats = keep && o.norm.weight ? statistics_for(x) : Tensor();
  kernels::linear_forward.on(x.device())(y, x, w, bias, {o.norm.weight, o.norm.bias, o.norm.eps, stats},
                                         {o.act, pre, o.sample_scale, o.residual});
  return record(
      "linear", y, {x, w, bias, o.residual, o.norm.weight, o.norm.bias},
      [x = saved(x), w = saved(w), pre = saved(pre), stats = saved(stats), norm_weight = saved(o.norm.weight),
       norm_bias = saved(o.norm.bias), eps = o.norm.eps, act = o.act,
       scale = o.sample_scale](const Tensor& dy, const Needs& needs) -> Grads {
        const Tensor db = needs(2) ? Tensor::empty({w.get().shape(0)}, dy.dtype(), dy.device()) : Tensor();
        const kernels::LinearGradients g{like_if(needs(0), x), like_if(needs(1), w), db, like_if(needs(4), norm_weight),
                                         like_if(needs(5), norm_bias)};
        if (needs(0) || needs(1) || needs(2) || needs(4) || needs(5))
          kernels::linear_backward.on(dy.device())(g, dy, x, w, {norm_weight, norm_bias, eps, stats}, {act, pre, scale, {}});
        return {g.dx, g.dw, g.db, needs(3) ? dy : Tensor(), g.dnorm_weight, g.dnorm_bias};
      });
}

Tensor residual_mlp(const Tensor& x, const MlpParameters& p, const Tensor& sample_scale) {
  check_product("residual_mlp", x, p.w1, p.b1);
  const Shape hidden_shape = x.shape().with(-1, p.w1.shape(0));
  RELUME_CHECK((p.w2.shape() == Shape{x.shape(-1), p.w1.shape(0)}) && p.w2.dtype() == x.dtype(), "residual_mlp: second weight ",
               p.w2, " does not lead back from ", hidden_shape, " to ", x);
  RELUME_CHECK(!p.b2 || (p.b2.shape() == Shape{x.shape(-1)} && p.b2.dtype() == x.dtype()), "residual_mlp: second bias ", p.b2,
               " does not fit ", x);
  RELUME_CHECK(p.norm.weight, "residual_mlp: a norm is part of it");
  check_norm("residual_mlp", x, p.norm);
  check_scale("residual_mlp", x, sample_scale);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const bool keep = recording({x, p.norm.weight, p.norm.bias, p.w1, p.b1, p.w2, p.b2});
  const kernels::ResidualMlp mlp{
      {p.norm.weight.detach(), p.norm.bias.detach(), p.norm.eps, keep ? statistics_for(x) : Tensor()},
      p.w1,
      p.b1,
      p.w2,
      p.b2,
      p.act,
      keep ? Tensor::empty(hidden_shape, x.dtype(), x.device()) : Tensor(),
      sample_scale};
  kernels::residual_mlp_forward.on(x.device())(y, x, mlp);
  return record("residual_mlp", y, {x, p.norm.weight, p.norm.bias, p.w1, p.b1, p.w2, p.b2},
                [x = saved(x), norm_weight = saved(p.norm.weight), norm_bias = saved(p.norm.bias), w1 = saved(p.w1),
                 w2 = saved(p.w2), stats = saved(mlp.norm.stats), hidden = saved(mlp.hidden), eps = p.norm.eps, act = p.act,
                 scale = sample_scale](const Tensor& dy, const Needs& needs) -> Grads {
                  const auto bias = [&](int input, int64_t size) {
                    return needs(input) ? Tensor::empty({size}, dy.dtype(), dy.device()) : Tensor();
                  };
                  const kernels::ResidualMlpGradients g{like_if(needs(0), x),         like_if(needs(1), norm_weight),
                                                        like_if(needs(2), norm_bias), like_if(needs(3), w1),
                                                        bias(4, w1.get().shape(0)),   like_if(needs(5), w2),
                                                        bias(6, w2.get().shape(0))};
                  const kernels::ResidualMlp m{{norm_weight, norm_bias, eps, stats}, w1, {}, w2, {}, act, hidden, scale};
                  kernels::residual_mlp_backward.on(dy.device())(g, dy, x, m);
                  return {g.dx, g.dnorm_weight, g.dnorm_bias, g.dw1, g.db1, g.dw2, g.db2};
                });
}

}  // namespace relume
