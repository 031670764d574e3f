// A call that is done again and again with the same shapes, as one CUDA graph: replaying it costs one launch.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/cuda/allocator.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {

class CapturedCall {
 public:
  using Call = std::function<std::vector<Tensor>()>;

  // Runs the call twice, so that plans, algorithms and tables are there and the memory it works in is known, then captures it
  // without running it. The call computes on the device, does the same every time, and reads its inputs from tensors that stay
  // where they are (copy_from() brings new numbers). Throws an Error that names what cannot be captured: waiting for the
  // device, copies from or to the host, memory that was not asked for before.
  CapturedCall(Device device, const Call& call);
  ~CapturedCall();
  CapturedCall(const CapturedCall&) = delete;
  CapturedCall& operator=(const CapturedCall&) = delete;

  // Does on this thread's stream what the call did; gives its results, the same tensors every time. On the thread that made it,
  // whose grid barriers (context.h) the graph has; an Error elsewhere.
  const std::vector<Tensor>& operator()() const;

 private:
  Device device_;
  std::thread::id thread_ = std::this_thread::get_id();
  Arena arena_;  // before the results, which lie in it
  std::vector<Tensor> results_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace relume::cuda
