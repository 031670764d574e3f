#include "tensor/cuda/cudnn_attention.h"

namespace relume::cuda {
namespace {

enum Id : int64_t { q_id = 1, k_id, v_id, y_id, scale_id, denominators_id };

}  // namespace

Descriptor operation_of(const SequenceAttention& a) {
  Descriptor d(CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
  d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, tensor_descriptor(q_id, a.type, a.q));
  d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, tensor_descriptor(k_id, a.type, a.k));
  d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, tensor_descriptor(v_id, a.type, a.v));
  d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, tensor_descriptor(y_id, a.type, a.y));
  const GraphTensor number({1, 1, 1, 1}, {1, 1, 1, 1}, sizeof(float));
  d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, tensor_descriptor(scale_id, CUDNN_DATA_FLOAT, number, TensorKind::by_value));
  if (a.denominators) {
    const auto [samples, heads, rows, channels] = a.y.sizes;
    const GraphTensor stats({samples, heads, rows, 1}, {heads * rows, rows, 1, 1}, 16);
    d.set(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, tensor_descriptor(denominators_id, CUDNN_DATA_FLOAT, stats));
  }
  d.finalize();
  return d;
}

GraphTensor head_rows(const Tensor& t, int heads) {
  const int64_t head_dim = t.shape(2) / heads;
  return {{t.shape(0), heads, t.shape(1), head_dim}, {t.shape(1) * t.pitch(), head_dim, t.pitch(), 1}, alignment_of(t.raw())};
}

Plan plan_of(const SequenceAttention& a, const PlanTarget& target) { return Plan(target, std::array{operation_of(a)}, false); }

void run(const SequenceAttention& a, Device device, SequenceAttentionPointers pointers) {
  const cudnnHandle_t handle = cudnn_handle(device);
  thread_local PlanCache<SequenceAttention> plans;
  const Plan& plan = plans.find(device, a, [&] { return plan_of(a, {.handle = handle}); });
  const std::array<int64_t, 6> ids{q_id, k_id, v_id, y_id, scale_id, denominators_id};
  const std::array<void*, 6> memory{pointers.q, pointers.k, pointers.v, pointers.y, &pointers.scale, pointers.denominators};
  const size_t count = a.denominators ? 6 : 5;
  plan.run(handle, device, std::span(ids).first(count), std::span(memory).first(count));
}

}  // namespace relume::cuda
