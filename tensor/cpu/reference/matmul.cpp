#include <cmath>

#include "tensor/cpu/reference/reference.h"

namespace relume::cpu::reference {

namespace {

using kernels::LinearEpilogue, kernels::LinearGradients, kernels::ResidualMlp, kernels::ResidualMlpGradients, kernels::RowNorm;

double& at(const Tensor& t, int64_t row, int64_t column) { return t.data<double>()[row * t.pitch() + column]; }
double scale_of(const Tensor& scales, int64_t row, int64_t rows) {
  return scales ? scales.data<float>()[row * scales.numel() / rows] : 1;
}

Tensor normed(const Tensor& x, const RowNorm& norm) {
  if (!norm.weight) return x;
  const Tensor y = Tensor::empty(x.shape(), DType::f64);
  layer_norm_forward(y, norm.stats, x, norm.weight, norm.bias, norm.eps);
  return y;
}

// z = x w^T + bias
Tensor product(const Tensor& x, const Tensor& w, const Tensor& bias) {
  const Tensor z = Tensor::empty(x.shape().with(-1, w.shape(0)), DType::f64);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t o = 0; o < w.shape(0); ++o) {
      double sum = bias ? bias.data<double>()[o] : 0;
      for (int64_t i = 0; i < w.shape(1); ++i) sum += at(x, r, i) * at(w, o, i);
      at(z, r, o) = sum;
    }
  return z;
}

// dx = dz w
Tensor product_backward(const Tensor& dz, const Tensor& w) {
  const Tensor dx = Tensor::empty(dz.shape().with(-1, w.shape(1)), DType::f64);
  for (int64_t r = 0; r < dz.rows(); ++r)
    for (int64_t i = 0; i < w.shape(1); ++i) {
      double sum = 0;
      for (int64_t o = 0; o < w.shape(0); ++o) sum += at(dz, r, o) * at(w, o, i);
      at(dx, r, i) = sum;
    }
  return dx;
}

// dw = dz^T x, db = column sums of dz
void weight_gradients(const Tensor& dw, const Tensor& db, const Tensor& dz, const Tensor& x) {
  for (int64_t o = 0; o < dz.shape(-1); ++o) {
    for (int64_t i = 0; dw && i < x.shape(-1); ++i) {
      double sum = 0;
      for (int64_t r = 0; r < x.rows(); ++r) sum += at(dz, r, o) * at(x, r, i);
      at(dw, o, i) = sum;
    }
    if (!db) continue;
    double sum = 0;
    for (int64_t r = 0; r < dz.rows(); ++r) sum += at(dz, r, o);
    db.data<double>()[o] = sum;
  }
}

void norm_gradients(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& dxn, const Tensor& x,
                    const RowNorm& norm) {
  if (norm.weight) return layer_norm_backward(dx, dweight, dbias, dxn, x, norm.stats, norm.weight);
  if (dx) dx.copy_from(dxn);
}

// The norm again, without touching the statistics.
Tensor normed_again(const Tensor& x, RowNorm norm) {
  norm.stats = {};
  return normed(x, norm);
}

}  // namespace

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const RowNorm& norm,
                    const LinearEpilogue& e) {
  const Tensor z = product(normed(x, norm), w, bias);
  if (e.pre_activation) e.pre_activation.copy_from(z);
  visit_activation(e.act, [&](auto act) {
    for (int64_t r = 0; r < z.rows(); ++r)
      for (int64_t o = 0; o < w.shape(0); ++o)
        at(y, r, o) = act.value(at(z, r, o)) * scale_of(e.sample_scale, r, z.rows()) + (e.residual ? at(e.residual, r, o) : 0);
  });
}

void linear_backward(const LinearGradients& g, const Tensor& dy, const Tensor& x, const Tensor& w, const RowNorm& norm,
                     const LinearEpilogue& e) {
  const Tensor dz = Tensor::empty(dy.shape(), DType::f64);
  visit_activation(e.act, [&](auto act) {
    for (int64_t r = 0; r < dy.rows(); ++r)
      for (int64_t o = 0; o < w.shape(0); ++o)
        at(dz, r, o) = at(dy, r, o) * scale_of(e.sample_scale, r, dy.rows()) *
                       (e.pre_activation ? act.slope(at(e.pre_activation, r, o)) : 1);
  });
  weight_gradients(g.dw, g.db, dz, normed_again(x, norm));
  if (g.dx || g.dnorm_weight || g.dnorm_bias)
    norm_gradients(g.dx, g.dnorm_weight, g.dnorm_bias, product_backward(dz, w), x, norm);
}

void residual_mlp_forward(const Tensor& y, const Tensor& x, const ResidualMlp& m) {
  const Tensor h = product(normed(x, m.norm), m.w1, m.b1);
  if (m.hidden) m.hidden.copy_from(h);
  visit_activation(m.act, [&](auto act) {
    for (int64_t i = 0; i < h.numel(); ++i) h.data<double>()[i] = act.value(h.data<double>()[i]);
  });
  const Tensor z = product(h, m.w2, m.b2);
  for (int64_t r = 0; r < z.rows(); ++r)
    for (int64_t c = 0; c < z.shape(-1); ++c) at(y, r, c) = at(x, r, c) + scale_of(m.sample_scale, r, z.rows()) * at(z, r, c);
}

void residual_mlp_backward(const ResidualMlpGradients& g, const Tensor& dy, const Tensor& x, const ResidualMlp& m) {
  const Tensor dz = Tensor::empty(dy.shape(), DType::f64), h = Tensor::empty(m.hidden.shape(), DType::f64);
  for (int64_t r = 0; r < dy.rows(); ++r)
    for (int64_t c = 0; c < dy.shape(-1); ++c) at(dz, r, c) = at(dy, r, c) * scale_of(m.sample_scale, r, dy.rows());
  const Tensor dh = product_backward(dz, m.w2);
  visit_activation(m.act, [&](auto act) {
    for (int64_t r = 0; r < h.rows(); ++r)
      for (int64_t c = 0; c < h.shape(-1); ++c) {
        at(h, r, c) = act.value(at(m.hidden, r, c));
        at(dh, r, c) *= act.slope(at(m.hidden, r, c));
      }
  });
  weight_gradients(g.dw2, g.db2, dz, h);
  weight_gradients(g.dw1, g.db1, dh, normed_again(x, m.norm));
  norm_gradients(g.dx, g.dnorm_weight, g.dnorm_bias, product_backward(dh, m.w1), x, m.norm);
  for (int64_t r = 0; g.dx && r < dy.rows(); ++r)
    for (int64_t c = 0; c < dy.shape(-1); ++c) at(g.dx, r, c) += at(dy, r, c);
}

}  // namespace relume::cpu::reference
