// Products with what surrounds them. cuBLASLt adds a bias and a residual; whatever else stands behind a product is a pointwise
// kernel of ours over the product in f32. A norm in front is written once, in the type of the weights, which the tensor cores
// want.
#include "tensor/kernels/matmul.h"

#include "tensor/cuda/cublaslt.h"
#include "tensor/cuda/families.h"
#include "tensor/cuda/matmul_tuning.h"
#include "tensor/cuda/norm.h"
#include "tensor/cuda/row_sums.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/memory.h"

namespace relume::cuda {
namespace {

using kernels::LinearEpilogue, kernels::LinearGradients, kernels::ResidualMlp, kernels::ResidualMlpGradients, kernels::RowNorm;

// ---- Pointwise kernels ------------------------------------------------------------------------------------------------------

template <int N, class T> __device__ inline Pack<float, N> read(const T* from) {
  const auto pack = *reinterpret_cast<const Pack<T, N>*>(from);
  Pack<float, N> values;
  for (int k = 0; k < N; ++k) values.at[k] = get(pack.at[k]);
  return values;
}
template <int N, class T> __device__ inline void write(T* to, const Pack<float, N>& values) {
  Pack<T, N> pack;
  for (int k = 0; k < N; ++k) put(pack.at[k], values.at[k]);
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// One factor per sample of the first axis, 1 where there are none.
struct SampleScale {
  SampleScale(const Tensor& scale, int64_t rows)
      : factors(scale ? scale.data<float>() : nullptr), rows_each(scale ? std::max<int64_t>(1, rows / scale.numel()) : 1) {}
  __device__ float of_row(int64_t row) const { return factors ? factors[row / rows_each] : 1; }
  const float* factors;
  int64_t rows_each;
};

// y = act(z + bias) scale + residual; z + bias is kept in `pre`. y may be z, or the residual.
template <class T, class F> struct Finish {
  Rows<T> y;
  Rows<float> z;
  MaybeRows<T> bias, pre, residual;
  SampleScale scale;
  F act;
  template <int N> __device__ void at(int64_t row, int64_t column) const {
    Pack<float, N> value = read<N>(z.at(row, column)), shift{}, add{};
    if (bias.data) shift = read<N>(bias.at(0, column));
    if (residual.data) add = read<N>(residual.at(row, column));
    for (int k = 0; k < N; ++k) value.at[k] += shift.at[k];
    if (pre.data) write<N>(pre.at(row, column), value);
    const float factor = scale.of_row(row);
    for (int k = 0; k < N; ++k) value.at[k] = math::fma(act.value(value.at[k]), factor, add.at[k]);
    write<N>(y.at(row, column), value);
  }
};

// The gradient towards z + bias: dz = dy scale slope(pre). A missing `pre` is one that the slope does not depend on.
template <class T, class G, class F> struct FinishBackward {
  Rows<T> dz;
  Rows<G> dy;
  MaybeRows<T> pre;
  SampleScale scale;
  F act;
  template <int N> __device__ void at(int64_t row, int64_t column) const {
    Pack<float, N> gradient = read<N>(dy.at(row, column)), before{};
    if (pre.data) before = read<N>(pre.at(row, column));
    const float factor = scale.of_row(row);
    for (int k = 0; k < N; ++k) gradient.at[k] *= factor * act.slope(before.at[k]);
    write<N>(dz.at(row, column), gradient);
  }
};

// body.at<n>(row, column) for the n elements from there on: N together, and one after another at the end of a row.
template <int N, class Body> static __global__ void for_packs(int64_t rows, int64_t columns, Body body) {
  const int64_t packs = (columns + N - 1) / N;
  for_each_item(rows * packs, [&](int64_t i) {
    const int64_t row = i / packs, column = (i - row * packs) * N;
    if (column + N <= columns)
      body.template at<N>(row, column);
    else
      for (int64_t c = column; c < columns; ++c) body.template at<1>(row, c);
  });
}

template <class T, class... Others> bool all_packed(const Tensor& t, const Others&... others) {
  if constexpr (sizeof...(others) > 0)
    if (!all_packed<T>(others...)) return false;
  if (!t) return true;
  constexpr int N = pack_size<T>;
  return t.dtype() == DType::f32 ? packs_fit<float, N>(t, t.rows() == 1) : packs_fit<T, N>(t, t.rows() == 1);
}

template <class T, class Body> void run(const char* name, const Tensor& like, bool packed, const Body& body) {
  const auto of_width = [&]<int N>() {
    const int64_t packs = (columns_of(like) + N - 1) / N;
    launch(name, for_packs<N, Body>, loop_grid(like.rows() * packs, like.device()), loop_threads, 0, stream(like.device()),
           like.rows(), columns_of(like), body);
  };
  packed ? of_width.template operator()<pack_size<T>>() : of_width.template operator()<1>();
}

// ---- linear -----------------------------------------------------------------------------------------------------------------

Tensor scratch_like(const Tensor& t, DType type) { return Tensor::scratch(t.shape(), type, t.device()); }

// x, or its norm. The backward pass computes the norm again: the same numbers as in the forward pass.
Tensor normed(const char* name, const Tensor& x, const RowNorm& norm, const Tensor& stats) {
  if (!norm.weight) return x;
  const Tensor y = scratch_like(x, x.dtype());
  normalise(name, y, stats, x, norm.weight, norm.bias, norm.eps);
  return y;
}

template <class T>
void finish(const char* name, const Tensor& y, const Tensor& z, const Tensor& bias, const LinearEpilogue& e) {
  const bool packed = all_packed<T>(y, z, bias, e.pre_activation, e.residual);
  visit_activation(e.act, [&]<class F>(F act) {
    run<T>(name, y, packed,
           Finish<T, F>{Rows<T>(y), Rows<float>(z), MaybeRows<T>(bias), MaybeRows<T>(e.pre_activation),
                        MaybeRows<T>(e.residual), SampleScale(e.sample_scale, y.rows()), act});
  });
}

template <class T> void linear(const char* name, const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias,
                               const RowNorm& norm, const LinearEpilogue& e) {
  const Tensor input = normed(name, x, norm, norm.stats);
  if (e.act.kind == ActivationKind::none && !e.sample_scale && !e.pre_activation)
    return multiply(name, y, input, transposed(w), bias, e.residual);
  if constexpr (std::is_same_v<T, float>) {
    const bool residual_in_y = e.residual && e.residual.same_storage(y);
    const Tensor z = e.pre_activation ? e.pre_activation : residual_in_y ? scratch_like(y, DType::f32) : y;
    multiply(name, z, input, transposed(w), bias);
    finish<T>(name, y, z, {}, {.act = e.act, .sample_scale = e.sample_scale, .residual = e.residual});
  } else {
    const Tensor z = scratch_like(y, DType::f32);
    multiply(name, z, input, transposed(w));
    finish<T>(name, y, z, bias, e);
  }
}

// The gradient towards the product: dy itself where nothing stands behind the product.
template <class T, class G> Tensor finish_backward(const char* name, const Tensor& dy, const LinearEpilogue& e) {
  if (e.act.kind == ActivationKind::none && !e.sample_scale && std::is_same_v<T, G>) return dy;
  RELUME_BUG(e.act.kind == ActivationKind::none || e.pre_activation, name, ": no pre_activation of ", name_of(e.act.kind));
  const Tensor dz = scratch_like(dy, dtype_of<T>);
  const bool packed = all_packed<T>(dz, dy, e.pre_activation);
  visit_activation(e.act, [&]<class F>(F act) {
    run<T>(name, dz, packed,
           FinishBackward<T, G, F>{Rows<T>(dz), Rows<G>(dy), MaybeRows<T>(e.pre_activation),
                                   SampleScale(e.sample_scale, dy.rows()), act});
  });
  return dz;
}

// The gradients of T tensors from a dy of G; `added`, like dx, is added to dx unless undefined.
template <class T, class G> void linear_gradients(const char* name, const LinearGradients& g, const Tensor& dy, const Tensor& x,
                                                  const Tensor& w, const RowNorm& norm, const LinearEpilogue& e,
                                                  const Tensor& added) {
  const Tensor dz = finish_backward<T, G>(name, dy, e);
  if (g.dw) multiply(name, g.dw, transposed(dz), normed(name, x, norm, {}));
  if (g.db) sum_over_rows<T>(name, g.db, dz.rows(), RowValue<T>{Rows<T>(dz)});
  if (!g.dx && !g.dnorm_weight && !g.dnorm_bias) return;
  if (!norm.weight) return multiply(name, g.dx, dz, w, {}, added);
  const Tensor dnormed = scratch_like(x, dtype_of<T>);
  multiply(name, dnormed, dz, w);
  normalise_backward(name, g.dx, g.dnorm_weight, g.dnorm_bias, dnormed, x, norm.stats, norm.weight, added);
}

// Sums over no rows.
void clear(std::initializer_list<Tensor> gradients) {
  for (const Tensor& t : gradients)
    if (t) kernels::fill.on(t.device())(t, 0);
}

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const RowNorm& norm,
                    const LinearEpilogue& e) {
  if (x.rows() == 0) return;
  visit_float("linear_forward", x, [&]<class T>() { linear<T>("linear_forward", y, x, w, bias, norm, e); });
}

void linear_backward(const LinearGradients& g, const Tensor& dy, const Tensor& x, const Tensor& w, const RowNorm& norm,
                     const LinearEpilogue& e) {
  if (x.rows() == 0) return clear({g.dw, g.db, g.dnorm_weight, g.dnorm_bias});
  visit_float("linear_backward", x, [&]<class T>() { linear_gradients<T, T>("linear_backward", g, dy, x, w, norm, e, {}); });
}

// ---- residual_mlp -----------------------------------------------------------------------------------------------------------

Tensor activated(const Tensor& hidden, Activation act) {
  const Tensor y = scratch_like(hidden, hidden.dtype());
  kernels::activation_forward.on(hidden.device())(y, hidden, act);
  return y;
}

void residual_mlp_forward(const Tensor& y, const Tensor& x, const ResidualMlp& m) {
  const char* const name = "residual_mlp_forward";
  if (x.rows() == 0) return;
  visit_float(name, x, [&]<class T>() {
    const Tensor active = Tensor::scratch(x.shape().with(-1, m.w1.shape(0)), x.dtype(), x.device());
    linear<T>(name, active, x, m.w1, m.b1, m.norm, {.act = m.act, .pre_activation = m.hidden});
    linear<T>(name, y, active, m.w2, m.b2, {}, {.sample_scale = m.sample_scale, .residual = x});
  });
}

// The gradient towards the activation's result stays in f32, since the slope is still to come.
template <class T>
void mlp_gradients(const char* name, const ResidualMlpGradients& g, const Tensor& dy, const Tensor& x, const ResidualMlp& m) {
  const bool first = g.dx || g.dnorm_weight || g.dnorm_bias || g.dw1 || g.db1;
  const Tensor dactive = first ? scratch_like(m.hidden, DType::f32) : Tensor();
  linear_gradients<T, T>(name, {.dx = dactive, .dw = g.dw2, .db = g.db2}, dy, g.dw2 ? activated(m.hidden, m.act) : m.hidden,
                         m.w2, {}, {.sample_scale = m.sample_scale}, {});
  if (first)
    linear_gradients<T, float>(name, {g.dx, g.dw1, g.db1, g.dnorm_weight, g.dnorm_bias}, dactive, x, m.w1, m.norm,
                               {.act = m.act, .pre_activation = m.hidden}, dy);
}

void residual_mlp_backward(const ResidualMlpGradients& g, const Tensor& dy, const Tensor& x, const ResidualMlp& m) {
  const char* const name = "residual_mlp_backward";
  if (x.rows() == 0) return clear({g.dnorm_weight, g.dnorm_bias, g.dw1, g.db1, g.dw2, g.db2});
  visit_float(name, x, [&]<class T>() { mlp_gradients<T>(name, g, dy, x, m); });
}

std::filesystem::path tune_products(Device) {
  const std::filesystem::path folder = default_tuning_folder();
  RELUME_CHECK(!folder.empty(), "tuning: there is no folder for the results; set HOME or XDG_CACHE_HOME");
  set_matmul_tuning({.candidates = 8, .folder = folder});
  return folder;
}

}  // namespace

void register_matmul_kernels() {
  kernels::linear_forward.set(DeviceKind::cuda, linear_forward);
  kernels::linear_backward.set(DeviceKind::cuda, linear_backward);
  kernels::residual_mlp_forward.set(DeviceKind::cuda, residual_mlp_forward);
  kernels::residual_mlp_backward.set(DeviceKind::cuda, residual_mlp_backward);
  kernels::tune_products.set(DeviceKind::cuda, tune_products);
}

}  // namespace relume::cuda
