#include "tensor/cuda/captured_call.h"

#include <optional>
#include <utility>

#include "tensor/cuda/families.h"
#include "tensor/kernels/memory.h"

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
  RELUME_CHECK(std::this_thread::get_id() == thread_,
               "a captured call can be done on the thread that captured it alone; capture it on this one");
  check(cudaGraphLaunch(graph_, stream(device_)), "cudaGraphLaunch");
  return results_;
}

namespace {

// Calls of one shape before its work is captured: capturing takes as long as two, so that few pictures are not worth it, and
// what is measured with that many (infer/cost.cpp) is the plain call.
constexpr int plain_calls = 4;

// Plain at first; then a graph is replayed, which is dropped when another shape comes.
class ReplayedFunction final : public RepeatedFunction {
 public:
  ReplayedFunction(Device device, Function f) : device_(device), f_(std::move(f)) {}

  Tensor operator()(const Tensor& x) override {
    if (calls_ == 0 || x.shape() != shape_ || x.dtype() != type_) captured_.reset(), input_ = {}, calls_ = 0;
    shape_ = x.shape(), type_ = x.dtype();
    if (++calls_ <= plain_calls) return f_(x.to(device_)).to(Device{});
    if (captured_)
      kernels::transfer.on(device_)(input_, x.contiguous());
    else
      capture(x);
    return (*captured_)().at(0).to(Device{});
  }

 private:
  void capture(const Tensor& x) {
    input_ = x.to(device_);
    captured_.emplace(device_, [this] { return std::vector{f_(input_)}; });
  }

  Device device_;
  Function f_;
  Shape shape_;
  DType type_ = DType::f32;
  int64_t calls_ = 0;  // of this shape
  Tensor input_;       // of the graph
  std::optional<CapturedCall> captured_;
};

std::unique_ptr<RepeatedFunction> repeated(Device device, RepeatedFunction::Function f) {
  return std::make_unique<ReplayedFunction>(device, std::move(f));
}

}  // namespace

void register_captured_calls() { kernels::repeated.set(DeviceKind::cuda, repeated); }

}  // namespace relume::cuda
