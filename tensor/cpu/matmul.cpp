// linear: y = act(x w^T + bias) + residual. Rows are cut into blocks that stay in the second-level cache; each block is one
// single-threaded oneDNN product with packed weights, followed at once by our own epilogue while it is still there. Measured on
// one AVX-512 core, 128 rows of 180 -> 540: 148 GFLOP/s against 106 for one product over all rows, and the epilogue is free of
// memory traffic.
#include "tensor/kernels/matmul.h"

#include "tensor/cpu/families.h"
#include "tensor/cpu/onednn.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/cpu/widen.h"
#include "tensor/kernels/elementwise.h"

namespace relume::cpu {
namespace {

using Memory = dnnl::memory;
using Tag = dnnl::memory::format_tag;
constexpr auto f32 = dnnl::memory::data_type::f32;

struct Product {
  dnnl::matmul primitive;
  Memory::desc source, weight, target, scratch;
};

// [m, k] x [k, n] on one thread. The weight is in the packed layout that oneDNN prefers for 128 rows, whatever m is, so that
// one packed copy serves every block and its tail.
const std::shared_ptr<const Product> product(int64_t m, int64_t k, int64_t n, int64_t source_pitch, int64_t target_pitch) {
  static PrimitiveCache<5, Product> cache;
  return cache.get({m, k, n, source_pitch, target_pitch}, [&] {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);  // oneDNN fixes the number of threads when the primitive is made
    const auto describe = [&](int64_t rows, const Memory::desc& weight) {
      const Memory::desc source({rows, k}, f32, Memory::dims{source_pitch, 1}),
          target({rows, n}, f32, Memory::dims{target_pitch, 1});
      return dnnl::matmul::primitive_desc(dnnl::matmul::desc(source, weight, target), onednn_attributes(), onednn_engine());
    };
    const Memory::desc packed = describe(128, Memory::desc({k, n}, f32, Tag::any)).weights_desc();
    const auto pd = describe(m, packed);
    Product made{dnnl::matmul(pd), pd.src_desc(), pd.weights_desc(), pd.dst_desc(), pd.scratchpad_desc()};
    omp_set_num_threads(threads);
    return made;
  });
}

int64_t rows_per_block(int64_t rows, int64_t k, int64_t n) {
  constexpr int64_t cache_bytes = 512 << 10;
  const int64_t fitting = cache_bytes / (int64_t(sizeof(float)) * (k + n)), sharing = rows / omp_get_max_threads();
  return std::clamp<int64_t>(std::min(fitting, sharing) / 32 * 32, 32, 1024);
}

// y = x * packed(w), block by block; finish(first_row, last_row) runs after each block, on the thread that computed it.
template <class Finish> void blocked_product(const char* name, const Tensor& y, const Tensor& x, const Memory::desc& plain,
                                             const Tensor& w, int role, Finish&& finish) {
  const int64_t k = x.shape(-1), n = y.shape(-1), rows = x.rows();
  if (rows == 0) return;
  with_onednn(name, [&] {
    const int64_t block = rows_per_block(rows, k, n), tail = rows % block;
    const auto full = product(block, k, n, x.pitch(), y.pitch());
    const auto last = tail ? product(tail, k, n, x.pitch(), y.pitch()) : full;
    const Memory weight = packed_weight(w, role, plain, full->weight, [](const Tensor& t) { return t; });
    parallel_for(rows, block, [&](int64_t begin, int64_t end) {
      const Product& p = end - begin == block ? *full : *last;
      const Memory source(p.source, onednn_engine(), x.data<float>() + begin * x.pitch());
      const Memory target(p.target, onednn_engine(), y.data<float>() + begin * y.pitch());
      execute(p.primitive, p.scratch, {{DNNL_ARG_SRC, source}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, target}});
      finish(begin, end);
    });
  });
}

// Rows begin..end of the epilogue; `from` holds the product, and keeps product + bias when it is not y itself.
template <class F> void finish_rows(const Tensor& y, const Tensor& from, const float* bias, const kernels::LinearEpilogue& e,
                                    F act, int64_t begin, int64_t end) {
  const int64_t n = y.shape(-1), rows_per_sample = e.sample_scale ? y.rows() / e.sample_scale.numel() : 1;
  const bool keep = !from.same_storage(y);
  for (int64_t r = begin; r < end; ++r) {
    float* product = from.data<float>() + r * from.pitch();
    float* out = y.data<float>() + r * y.pitch();
    if (bias) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) product[i] += bias[i];
    }
    if (keep || !std::is_same_v<F, Identity>) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = act.value(product[i]);
    }
    if (e.sample_scale) {
      const float scale = e.sample_scale.data<float>()[r / rows_per_sample];
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] *= scale;
    }
    if (e.residual) {
      const float* add = e.residual.data<float>() + r * e.residual.pitch();
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] += add[i];
    }
  }
}

enum Role { forward_role = 1, backward_role = 2 };

void linear_forward_f32(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, kernels::LinearEpilogue e) {
  const int64_t k = x.shape(-1), n = y.shape(-1);
  // The product overwrites its target, so a residual that lives there is set aside first.
  const Tensor& product = e.pre_activation ? e.pre_activation : y;
  if (e.residual && e.residual.same_storage(product)) e.residual = e.residual.clone();
  const float* b = bias ? bias.data<float>() : nullptr;
  visit_activation(e.act, [&](auto act) {
    blocked_product("linear_forward", product, x, Memory::desc({k, n}, f32, Tag::ba), w, forward_role,
                    [&](int64_t begin, int64_t end) { finish_rows(y, product, b, e, act, begin, end); });
  });
}

void linear_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::LinearEpilogue& e) {
  if (y.dtype() == DType::f64) return reference::linear_forward(y, x, w, bias, e);
  const WidenedOutput out(y), pre(e.pre_activation);
  linear_forward_f32(out.tensor(), widened(x), widened(w), widened(bias),
                     {e.act, pre.tensor(), e.sample_scale, widened(e.residual)});
  out.store();
  pre.store();
}

void linear_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w) {
  if (dx.dtype() == DType::f64) return reference::linear_backward_data(dx, dy, w);
  const WidenedOutput out(dx);
  blocked_product("linear_backward_data", out.tensor(), widened(dy), Memory::desc({dy.shape(-1), dx.shape(-1)}, f32, Tag::ab),
                  widened(w), backward_role, [](int64_t, int64_t) {});
  out.store();
}

void linear_backward_weight_f32(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x) {
  const int64_t o = dw.shape(0), i = dw.shape(1), rows = x.rows();
  with_onednn("linear_backward_weight", [&] {
    const dnnl_status_t status = dnnl_sgemm('T', 'N', o, i, rows, 1.f, dy.data<float>(), dy.pitch(), x.data<float>(), x.pitch(),
                                            0.f, dw.data<float>(), dw.pitch());
    RELUME_BUG(status == dnnl_success, "dnnl_sgemm returned ", int(status));
  });
  if (db) kernels::sum_rows.on(db.device())(db, dy);
}

void linear_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x) {
  if (dw.dtype() == DType::f64) return reference::linear_backward_weight(dw, db, dy, x);
  const WidenedOutput out_w(dw), out_b(db);
  linear_backward_weight_f32(out_w.tensor(), out_b.tensor(), widened(dy), widened(x));
  out_w.store();
  out_b.store();
}

}  // namespace

void register_matmul_kernels() {
  kernels::linear_forward.set(DeviceKind::cpu, linear_forward);
  kernels::linear_backward_data.set(DeviceKind::cpu, linear_backward_data);
  kernels::linear_backward_weight.set(DeviceKind::cpu, linear_backward_weight);
}

}  // namespace relume::cpu
