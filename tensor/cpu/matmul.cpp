// Products with what surrounds them. Rows are cut into blocks that stay in the second-level cache; each block is normalised,
// multiplied with packed weights and finished there, so that memory sees only what goes in and what comes out. In the backward
// pass fixed groups of blocks add up their share of the weights' gradients, and the shares are added in order: the same result
// on any number of threads, with any width of vectors.
#include "tensor/kernels/matmul.h"

#include <optional>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/gemm.h"
#include "tensor/cpu/norm_rows.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/cpu/shares.h"
#include "tensor/cpu/widen.h"

namespace relume::cpu {
namespace {

using kernels::LinearEpilogue, kernels::LinearGradients, kernels::ResidualMlp, kernels::ResidualMlpGradients, kernels::RowNorm;

// One factor per sample of the first axis, 1 where there are none.
class SampleScale {
 public:
  SampleScale(const Tensor& scale, int64_t rows)
      : scale_(data_or_null(scale)), rows_each_(scale ? std::max<int64_t>(1, rows / scale.numel()) : 1) {}
  float of_row(int64_t row) const { return scale_ ? scale_[row / rows_each_] : 1; }
  explicit operator bool() const { return scale_ != nullptr; }

 private:
  const float* scale_;
  int64_t rows_each_;
};

// Rows begin .. end of x as the left factor of a product: x itself, or its norm in `scratch` (pitch x.shape(-1)).
LeftFactor normed(float* scratch, const Tensor& x, const RowNorm& norm, int64_t begin, int64_t end) {
  const FloatRows rows(x);
  if (!norm.weight) return {rows[begin], rows.pitch, 1};
  const int64_t columns = x.shape(-1);
  const float *weight = norm.weight.data<float>(), *bias = norm.bias.data<float>();
  float* const stats = norm.stats ? norm.stats.data<float>() : nullptr;
  for (int64_t r = begin; r < end; ++r) {
    const RowStatistics s = row_statistics(rows[r], columns, float(norm.eps));
    normalise_row(scratch + (r - begin) * columns, rows[r], weight, bias, s, columns);
    if (!stats) continue;
    stats[2 * r] = s.mean + s.correction;
    stats[2 * r + 1] = s.rstd;
  }
  return {scratch, columns, 1};
}

// The same rows again in the backward pass, by their statistics, in `scratch` of any pitch.
void normed_again(float* scratch, int64_t pitch, const Tensor& x, const RowNorm& norm, int64_t begin, int64_t end) {
  const int64_t columns = x.shape(-1);
  const FloatRows rows(x);
  const float *weight = data_or_null(norm.weight), *bias = data_or_null(norm.bias), *stats = data_or_null(norm.stats);
  for (int64_t r = begin; r < end; ++r, scratch += pitch) {
    if (weight)
      normalise_row(scratch, rows[r], weight, bias, {stats[2 * r], stats[2 * r + 1], 0}, columns);
    else
      std::copy_n(rows[r], columns, scratch);
  }
}

// row[0, n) += bias, and kept in `pre` where that is not null.
void add_bias(float* row, const float* bias, float* pre, int64_t n) {
  if (bias) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) row[i] += bias[i];
  }
  if (pre) std::copy_n(row, n, pre);
}

// ---- Gradients of the parameters, added up over groups of rows
// ---------------------------------------------------------------

Groups row_groups(int64_t rows) { return {rows, rows_together, 1024, 64}; }

// What a product's backward pass leaves behind for a block of rows: dz [.., O] (pitch dz_pitch) and its input rows [.., I]
// again.
struct WeightShare {
  Shares dw, db;
  void add(int64_t group, int64_t count, const float* dz, int64_t dz_pitch, const float* input, int64_t input_pitch,
           int64_t out, int64_t in) const {
    if (dw) multiply(dw.of(group), dw.pitch(), out, in, count, {dz, 1, dz_pitch}, {input, input_pitch}, Into::add);
    if (db) add_column_sums(db.of(group), dz, dz_pitch, count, out);
  }
  void add_up() const { dw.add_up(), db.add_up(); }
};

struct NormShare {
  Shares dweight, dbias;
  // Rows of dxn, the gradient towards the norm's result, to those towards x; `add` [.., C] is added where it is defined.
  void back(int64_t group, const Tensor& dx, const Tensor& add, float* dxn, int64_t pitch, const Tensor& x, const RowNorm& norm,
            int64_t begin, int64_t end) const {
    const int64_t columns = x.shape(-1);
    const FloatRows from(x), to(dx), added(add);
    const float *stats = norm.stats.data<float>(), *weight = norm.weight.data<float>();
    std::vector<float> unwanted(dweight && dbias ? 0 : size_t(columns));
    float* const dw = dweight ? dweight.of(group) : unwanted.data();
    float* const db = dbias ? dbias.of(group) : unwanted.data();
    for (int64_t r = begin; r < end; ++r, dxn += pitch) {
      const float mean = stats[2 * r], rstd = stats[2 * r + 1];
      if (dweight || dbias) normalise_row_parameters(dw, db, dxn, from[r], mean, rstd, columns);
      if (to) normalise_row_backward(to[r], dxn, from[r], weight, mean, rstd, columns, added ? added[r] : nullptr);
    }
  }
  void add_up() const { dweight.add_up(), dbias.add_up(); }
};

// ---- linear -----------------------------------------------------------------------------------------------------------------

// Rows begin .. end of the columns first .. first + n.
template <class F> void finish_rows(const Tensor& y, float* product, int64_t pitch, const float* bias, const LinearEpilogue& e,
                                    F act, const SampleScale& scales, int64_t begin, int64_t end, int64_t first, int64_t n) {
  const FloatRows to(y), residual(e.residual), pre(e.pre_activation);
  for (int64_t r = begin; r < end; ++r, product += pitch) {
    add_bias(product, bias ? bias + first : nullptr, pre ? pre[r] + first : nullptr, n);
    const float scale = scales.of_row(r);
    float* out = to[r] + first;
    if (residual) {
      const float* add = residual[r] + first;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = act.value(product[i]) * scale + add[i];
    } else {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = act.value(product[i]) * scale;
    }
  }
}

void linear_forward_f32(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const RowNorm& norm,
                        const LinearEpilogue& e) {
  constexpr int64_t most_rows = 768;
  const int64_t in = x.shape(-1), rows = x.rows();
  const WeightBlocks weight(w, WeightUse::forward);
  const ProductTasks tasks(weight, rows, most_rows);
  const SampleScale scales(e.sample_scale, rows);
  const auto left = [&](int64_t begin, int64_t end) {
    LeftRows prepared;
    if (norm.weight) prepared.memory = std::make_unique<Floats>((end - begin) * in);
    prepared.factor = normed(norm.weight ? prepared.memory->data() : nullptr, x, norm, begin, end);
    return prepared;
  };
  visit_activation(e.act, [&](auto act) {
    tasks.run(left, [&](float* product, int64_t pitch, int64_t begin, int64_t end, int64_t first, int64_t count) {
      finish_rows(y, product, pitch, data_or_null(bias), e, act, scales, begin, end, first, count);
    });
  });
}

void linear_backward_f32(const LinearGradients& g, const Tensor& dy, const Tensor& x, const Tensor& w, const RowNorm& norm,
                         const LinearEpilogue& e) {
  const int64_t in = x.shape(-1), out = dy.shape(-1), rows = x.rows(), pitch = round_up(in, lanes);
  const Groups groups = row_groups(rows);
  const bool data = g.dx || g.dnorm_weight || g.dnorm_bias, direct = !e.sample_scale && e.act.kind == ActivationKind::none;
  const WeightShare share{{groups, g.dw}, {groups, g.db}};
  const NormShare norm_share{{groups, g.dnorm_weight}, {groups, g.dnorm_bias}};
  const std::optional<PackedWeight> weight = data ? std::make_optional<PackedWeight>(w, WeightUse::backward) : std::nullopt;
  const SampleScale scales(e.sample_scale, rows);
  const FloatRows gradient(dy), before(e.pre_activation), result(g.dx);
  visit_activation(e.act, [&](auto act) {
    groups.for_each_block([&](int64_t group, int64_t begin, int64_t end) {
      const Floats scaled(direct ? 0 : rows_together * out), inner(rows_together * pitch);
      const float* dz = gradient[begin];
      int64_t dz_pitch = gradient.pitch;
      for (int64_t r = begin; !direct && r < end; ++r) {
        const float *from = gradient[r], *pre = before ? before[r] : from, scale = scales.of_row(r);
        float* to = scaled.data() + (r - begin) * out;
#pragma omp simd
        for (int64_t i = 0; i < out; ++i) to[i] = from[i] * scale * act.slope(pre[i]);
      }
      if (!direct) dz = scaled.data(), dz_pitch = out;
      if (share.dw) normed_again(inner.data(), pitch, x, norm, begin, end);
      share.add(group, end - begin, dz, dz_pitch, inner.data(), pitch, out, in);
      if (!data) return;
      multiply(inner.data(), pitch, end - begin, {dz, dz_pitch, 1}, weight->matrix());
      if (norm.weight) return norm_share.back(group, g.dx, {}, inner.data(), pitch, x, norm, begin, end);
      for (int64_t r = begin; r < end; ++r) std::copy_n(inner.data() + (r - begin) * pitch, in, result[r]);
    });
  });
  share.add_up();
  norm_share.add_up();
}

// ---- residual_mlp -----------------------------------------------------------------------------------------------------------

void residual_mlp_forward_f32(const Tensor& y, const Tensor& x, const ResidualMlp& m) {
  const int64_t channels = x.shape(-1), hidden = m.w1.shape(0), rows = x.rows();
  const int64_t hidden_pitch = round_up(hidden, lanes), pitch = round_up(channels, lanes);
  const PackedWeight first(m.w1, WeightUse::forward), second(m.w2, WeightUse::forward);
  const SampleScale scales(m.sample_scale, rows);
  const float *b1 = data_or_null(m.b1), *b2 = data_or_null(m.b2);
  const FloatRows in(x), result(y), kept(m.hidden);
  visit_activation(m.act, [&](auto act) {
    parallel_for(rows, rows_together, [&](int64_t begin, int64_t end) {
      const Floats input(rows_together * channels), between(rows_together * hidden_pitch), product(rows_together * pitch);
      multiply(between.data(), hidden_pitch, end - begin, normed(input.data(), x, m.norm, begin, end), first.matrix());
      for (int64_t r = begin; r < end; ++r) {
        float* h = between.data() + (r - begin) * hidden_pitch;
        add_bias(h, b1, kept ? kept[r] : nullptr, hidden);
#pragma omp simd
        for (int64_t i = 0; i < hidden; ++i) h[i] = act.value(h[i]);
      }
      multiply(product.data(), pitch, end - begin, {between.data(), hidden_pitch, 1}, second.matrix());
      for (int64_t r = begin; r < end; ++r) {
        float *out = result[r], *p = product.data() + (r - begin) * pitch;
        const float *from = in[r], scale = scales.of_row(r);
        add_bias(p, b2, nullptr, channels);
#pragma omp simd
        for (int64_t i = 0; i < channels; ++i) out[i] = from[i] + scale * p[i];
      }
    });
  });
}

void residual_mlp_backward_f32(const ResidualMlpGradients& g, const Tensor& dy, const Tensor& x, const ResidualMlp& m) {
  const int64_t channels = x.shape(-1), hidden = m.w1.shape(0), rows = x.rows();
  const int64_t hidden_pitch = round_up(hidden, lanes), pitch = round_up(channels, lanes);
  const Groups groups = row_groups(rows);
  const WeightShare first{{groups, g.dw1}, {groups, g.db1}};
  const WeightShare second{{groups, g.dw2}, {groups, g.db2}};
  const NormShare norm{{groups, g.dnorm_weight}, {groups, g.dnorm_bias}};
  const PackedWeight back1(m.w1, WeightUse::backward), back2(m.w2, WeightUse::backward);
  const FloatRows gradient(dy), kept(m.hidden);
  const SampleScale scales(m.sample_scale, rows);
  visit_activation(m.act, [&](auto act) {
    groups.for_each_block([&](int64_t group, int64_t begin, int64_t end) {
      const int64_t count = end - begin;
      const Floats scaled(rows_together * channels), active(rows_together * hidden_pitch),
          dhidden(rows_together * hidden_pitch), inner(rows_together * pitch);
      for (int64_t r = begin; r < end; ++r) {
        const float *from = gradient[r], scale = scales.of_row(r);
        float* to = scaled.data() + (r - begin) * channels;
#pragma omp simd
        for (int64_t i = 0; i < channels; ++i) to[i] = from[i] * scale;
      }
      multiply(dhidden.data(), hidden_pitch, count, {scaled.data(), channels, 1}, back2.matrix());
      for (int64_t r = 0; r < count; ++r) {
        const float* before = kept[begin + r];
        float *a = active.data() + r * hidden_pitch, *d = dhidden.data() + r * hidden_pitch;
#pragma omp simd
        for (int64_t i = 0; i < hidden; ++i) {
          const float h = before[i];
          a[i] = act.value(h);
          d[i] *= act.slope(h);
        }
      }
      second.add(group, count, scaled.data(), channels, active.data(), hidden_pitch, channels, hidden);
      if (first.dw) normed_again(inner.data(), pitch, x, m.norm, begin, end);
      first.add(group, count, dhidden.data(), hidden_pitch, inner.data(), pitch, hidden, channels);
      multiply(inner.data(), pitch, count, {dhidden.data(), hidden_pitch, 1}, back1.matrix());
      norm.back(group, g.dx, dy, inner.data(), pitch, x, m.norm, begin, end);
    });
  });
  first.add_up(), second.add_up(), norm.add_up();
}

// ---- The slots: f64 runs the reference, 16 bits are widened
// ------------------------------------------------------------------

RowNorm widened_norm(const RowNorm& n) { return {widened(n.weight), widened(n.bias), n.eps, n.stats}; }
ResidualMlp widened_mlp(const ResidualMlp& m) {
  return {widened_norm(m.norm), widened(m.w1), widened(m.b1),     widened(m.w2),
          widened(m.b2),        m.act,         widened(m.hidden), m.sample_scale};
}

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const RowNorm& norm,
                    const LinearEpilogue& e) {
  if (x.rows() == 0) return;
  if (y.dtype() == DType::f64) return reference::linear_forward(y, x, w, bias, norm, e);
  const WidenedOutput out(y), pre(e.pre_activation);
  linear_forward_f32(out.tensor(), widened(x), widened(w), widened(bias), widened_norm(norm),
                     {e.act, pre.tensor(), e.sample_scale, widened(e.residual)});
  out.store();
  pre.store();
}

void linear_backward(const LinearGradients& g, const Tensor& dy, const Tensor& x, const Tensor& w, const RowNorm& norm,
                     const LinearEpilogue& e) {
  if (dy.dtype() == DType::f64) return reference::linear_backward(g, dy, x, w, norm, e);
  const WidenedOutput dx(g.dx), dw(g.dw), db(g.db), dnw(g.dnorm_weight), dnb(g.dnorm_bias);
  linear_backward_f32({dx.tensor(), dw.tensor(), db.tensor(), dnw.tensor(), dnb.tensor()}, widened(dy), widened(x), widened(w),
                      widened_norm(norm), {e.act, widened(e.pre_activation), e.sample_scale, {}});
  for (const WidenedOutput* out : {&dx, &dw, &db, &dnw, &dnb}) out->store();
}

void residual_mlp_forward(const Tensor& y, const Tensor& x, const ResidualMlp& m) {
  if (x.rows() == 0) return;
  if (y.dtype() == DType::f64) return reference::residual_mlp_forward(y, x, m);
  const WidenedOutput out(y), hidden(m.hidden);
  ResidualMlp wide = widened_mlp(m);
  wide.hidden = hidden.tensor();
  residual_mlp_forward_f32(out.tensor(), widened(x), wide);
  out.store();
  hidden.store();
}

void residual_mlp_backward(const ResidualMlpGradients& g, const Tensor& dy, const Tensor& x, const ResidualMlp& m) {
  if (dy.dtype() == DType::f64) return reference::residual_mlp_backward(g, dy, x, m);
  const WidenedOutput dx(g.dx), dnw(g.dnorm_weight), dnb(g.dnorm_bias), dw1(g.dw1), db1(g.db1), dw2(g.dw2), db2(g.db2);
  residual_mlp_backward_f32({dx.tensor(), dnw.tensor(), dnb.tensor(), dw1.tensor(), db1.tensor(), dw2.tensor(), db2.tensor()},
                            widened(dy), widened(x), widened_mlp(m));
  for (const WidenedOutput* out : {&dx, &dnw, &dnb, &dw1, &db1, &dw2, &db2}) out->store();
}

std::filesystem::path tune_products(Device) { return {}; }

}  // namespace

void register_matmul_kernels() {
  kernels::linear_forward.set(DeviceKind::cpu, linear_forward);
  kernels::linear_backward.set(DeviceKind::cpu, linear_backward);
  kernels::residual_mlp_forward.set(DeviceKind::cpu, residual_mlp_forward);
  kernels::residual_mlp_backward.set(DeviceKind::cpu, residual_mlp_backward);
  kernels::tune_products.set(DeviceKind::cpu, tune_products);
}

}  // namespace relume::cpu
