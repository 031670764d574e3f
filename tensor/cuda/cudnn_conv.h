// One convolution, or the gradient of one, as cuDNN is asked for it.
#pragma once

#include "tensor/cuda/cudnn_graph.h"

namespace relume::cuda {

enum class ConvPass : uint8_t { forward, backward_data, backward_weight };
constexpr const char* slot_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward: return "conv2d_forward";
    case ConvPass::backward_data: return "conv2d_backward_data";
    case ConvPass::backward_weight: return "conv2d_backward_weight";
  }
  return "?";
}

struct Convolution {
  auto operator<=>(const Convolution&) const = default;
  ConvPass pass;
  cudnnDataType_t type;                          // of all tensors; sums are floats
  GraphTensor x, w, y;                           // or their gradients
  std::array<int64_t, 2> stride, before, after;  // zero padding before and after; rows, columns
  int64_t bias_alignment = 0;                    // of the bias that forward adds; 0: none
  bool tf32 = false;                             // whether engines may round floats to it
};

// Where the tensors of a Convolution lie; the pass says which of them is written.
struct ConvPointers {
  void *x, *w, *y, *bias = nullptr;
};

Plan plan_of(const Convolution& c, const PlanTarget& target);

// Runs it with the plan of an earlier call on this thread, if there was one.
void run(const Convolution& c, Device device, const ConvPointers& pointers);

}  // namespace relume::cuda
