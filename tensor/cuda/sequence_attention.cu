// Attention over whole sequences: cuDNN's forward pass where it has one for such rows, the streaming kernels for everything
// else.
#include "tensor/cuda/cudnn_attention.h"
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/streaming_attention.h"

namespace relume::cuda {
namespace {

using kernels::AttentionOptions;

// 16-bit rows of whole 16 bytes, heads of up to 128 channels, every query sees every key: decided by the call alone, so that
// equal calls give equal bits.
bool is_for_cudnn(const Tensor& y, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  const int64_t head_dim = q.shape(2) / o.heads;
  if (q.dtype() == DType::f32 || o.causal || head_dim % 8 != 0 || head_dim > 128) return false;
  for (const Tensor& t : {y, q, k, v})
    if (t.pitch() % 8 != 0 || alignment_of(t.raw()) != 16) return false;
  return true;
}

// lse [N, L, heads] = from [N, heads, L]
static __global__ void heads_last(int64_t samples, int64_t heads, int64_t rows, Rows<float> lse, const float* from) {
  for_each_item(samples * rows * heads, [&](int64_t i) {
    const int64_t row = i / heads, head = i - row * heads, sample = row / rows;
    *lse.at(row, head) = from[(sample * heads + head) * rows + row - sample * rows];
  });
}

void forward_by_cudnn(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v,
                      const AttentionOptions& o) {
  const char* const name = kernels::attention_forward.name();
  const int64_t samples = y.shape(0), rows = y.shape(1);
  const Storage denominators(y.device(), lse ? samples * rows * o.heads * int64_t(sizeof(float)) : 0, MemoryUse::scratch);
  run({.type = cudnn_type(name, q),
       .q = head_rows(q, o.heads),
       .k = head_rows(k, o.heads),
       .v = head_rows(v, o.heads),
       .y = head_rows(y, o.heads),
       .denominators = bool(lse)},
      y.device(), {q.raw(), k.raw(), v.raw(), y.raw(), denominators.data(), float(o.scale)});
  if (!lse) return;
  launch(name, heads_last, loop_grid(lse.numel(), y.device()), loop_threads, 0, stream(y.device()), samples, o.heads, rows,
         Rows<float>(lse), static_cast<const float*>(denominators.data()));
}

void forward(const Tensor& y, const Tensor& lse, const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& o) {
  if (y.numel() == 0) return;
  if (!is_for_cudnn(y, q, k, v, o)) return streaming_attention_forward(y, lse, q, k, v, o);
  try {
    forward_by_cudnn(y, lse, q, k, v, o);
  } catch (Error& e) {
    e.add_context(relume::detail::concat("in ", kernels::attention_forward.name(), " of queries ", q, " and keys ", k, ", ",
                                         o.heads, " heads"));
    throw;
  }
}

}  // namespace

void register_sequence_attention_kernels() {
  kernels::attention_forward.set(DeviceKind::cuda, forward);
  kernels::attention_backward.set(DeviceKind::cuda, streaming_attention_backward);
}

}  // namespace relume::cuda
