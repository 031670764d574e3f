// Attention over whole sequences, as cuDNN is asked for it: its one operation for all of it, which keeps scores on the chip.
// Backward is not asked of it: cuDNN 9.19 refuses that operation, and what it has instead adds up dq in another order every
// time or stores all scores.
#pragma once

#include "tensor/cuda/cudnn_graph.h"

namespace relume::cuda {

struct SequenceAttention {
  auto operator<=>(const SequenceAttention&) const = default;
  cudnnDataType_t type;    // of q, k, v and y: 16 bits; sums are floats
  GraphTensor q, k, v, y;  // axes: samples, heads, rows, channels of a head
  bool denominators;       // whether they are wanted
};

// [N, L, heads * D] with those axes.
GraphTensor head_rows(const Tensor& t, int heads);

struct SequenceAttentionPointers {
  void *q, *k, *v, *y;
  void* denominators;  // f32 [N, heads, L]: before 9.26 cuDNN writes no other layout; the log of each
  float scale;
};

Descriptor operation_of(const SequenceAttention& a);
Plan plan_of(const SequenceAttention& a, const PlanTarget& target);

// Runs it with the plan of an earlier call on this thread, if there was one.
void run(const SequenceAttention& a, Device device, SequenceAttentionPointers pointers);

}  // namespace relume::cuda
