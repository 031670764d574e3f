#include "tensor/cuda/captured_call.h"

#include <algorithm>
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
      std::vector<Tensor> results;  // released behind the scope, as those that are kept
      const Arena::Scope scope(arena_, Arena::Mode::record);
      results = call();
    }
    const Arena::Scope scope(arena_, Arena::Mode::repeat);
    Capture capture(stream(device_));
    results_ = call();
    RELUME_CHECK(!arena_.others_were_released(), "the call releases memory that was there before it; keep it outside");
    RELUME_CHECK(arena_.repeated_all(),
                 "the call keeps other memory than the first time; only calls that do the same every "
                 "time can be captured");
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

// Calls with inputs of the same shapes before the work is captured: capturing takes as long as two, so that few pictures are
// not worth it, and what is measured with that many (infer/cost.cpp) is the plain call.
constexpr int plain_calls = 4;

// Plain at first; then a graph is replayed, which is dropped when inputs of other shapes or types come.
class ReplayedFunction final : public RepeatedFunction {
 public:
  ReplayedFunction(Device device, Function f) : device_(device), f_(std::move(f)) {}

  Tensor operator()(const std::vector<Tensor>& inputs) override {
    const Device wanted = inputs.at(0).device();
    if (!fits(inputs)) captured_.reset(), inputs_.clear(), remember(inputs);
    if (++calls_ <= plain_calls) return f_(on_device(inputs)).to(wanted);
    if (captured_)
      bring(inputs);
    else
      capture(inputs);
    const Tensor& result = (*captured_)().at(0);
    return wanted == device_ ? result.clone() : result.to(wanted);  // the next replay writes over the graph's own
  }

 private:
  bool fits(const std::vector<Tensor>& inputs) const {
    return std::ranges::equal(inputs, kinds_,
                              [](const Tensor& t, const Kind& k) { return t.shape() == k.shape && t.dtype() == k.type; });
  }
  void remember(const std::vector<Tensor>& inputs) {
    kinds_.clear(), calls_ = 0;
    for (const Tensor& t : inputs) kinds_.push_back({t.shape(), t.dtype()});
  }
  std::vector<Tensor> on_device(const std::vector<Tensor>& inputs) const {
    std::vector<Tensor> there;
    for (const Tensor& t : inputs) there.push_back(t.to(device_));
    return there;
  }
  void capture(const std::vector<Tensor>& inputs) {
    for (const Tensor& t : inputs) inputs_.push_back(t.device() == device_ ? t.clone() : t.to(device_));
    captured_.emplace(device_, [this] { return std::vector{f_(inputs_)}; });
  }
  void bring(const std::vector<Tensor>& inputs) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].device() == device_)
        inputs_[i].copy_from(inputs[i]);
      else
        kernels::transfer.on(device_)(inputs_[i], inputs[i].contiguous());
    }
  }

  struct Kind {
    Shape shape;
    DType type;
  };
  Device device_;
  Function f_;
  std::vector<Kind> kinds_;     // of the inputs
  int64_t calls_ = 0;           // with such inputs
  std::vector<Tensor> inputs_;  // of the graph
  std::optional<CapturedCall> captured_;
};

std::unique_ptr<RepeatedFunction> repeated(Device device, RepeatedFunction::Function f) {
  return std::make_unique<ReplayedFunction>(device, std::move(f));
}

}  // namespace

void register_captured_calls() { kernels::repeated.set(DeviceKind::cuda, repeated); }

}  // namespace relume::cuda
