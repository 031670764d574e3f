#include "tensor/cuda/captured_call.h"

namespace relume::cuda {
namespace {

// Records what is asked of the stream while it lives. A capture that is not ended by hand is thrown away.
class Capture {
 public:
  explicit Capture(cudaStream_t on) : stream_(on) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  ~Capture() {
    if (!ended_) {
      cudaStreamEndCapture(stream_, &graph_);
      cudaGetLastError();  // the failure must not be reported again by the next call
    }
    if (graph_) cudaGraphDestroy(graph_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraphExec_t instantiated() {
    ended_ = true;
    check(cudaStreamEndCapture(stream_, &graph_), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph_, 0), "cudaGraphInstantiate");
    return executable;
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
  bool ended_ = false;
};

}  // namespace

CapturedCall::CapturedCall(Device device, const Call& call) : device_(device), arena_(device) {
  try {
    call();
    {
      const Arena::Scope scope(arena_, Arena::Mode::grow);
      call();
    }
    const Arena::Scope scope(arena_, Arena::Mode::repeat);
    Capture capture(stream(device_));
    results_ = call();
    RELUME_CHECK(!arena_.others_were_released(), "the call releases memory that was there before it; keep it outside");
    graph_ = capture.instantiated();
  } catch (Error& e) {
    e.add_context("while a call was captured as a CUDA graph");
    throw;
  }
}

CapturedCall::~CapturedCall() { cudaGraphExecDestroy(graph_); }

const std::vector<Tensor>& CapturedCall::operator()() const {
  check(cudaGraphLaunch(graph_, stream(device_)), "cudaGraphLaunch");
  return results_;
}

}  // namespace relume::cuda
