#include "tensor/cuda/cudnn_graph.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "tensor/cuda/context.h"

namespace relume::cuda {
namespace {

std::string last_error() {
  char text[1024] = "";
  cudnnGetLastErrorString(text, sizeof text);
  return text;
}

// Handles are not shared: cuDNN does not let two threads use one at a time.
class Handle {
 public:
  Handle() { check(cudnnCreate(&handle_), "cudnnCreate"); }
  ~Handle() { cudnnDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cudnnHandle_t get() const { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string reason = last_error();
  throw Error(std::string(call) + ": " + cudnnGetErrorString(status) + (reason.empty() ? "" : ": " + reason));
}

cudnnHandle_t cudnn_handle(Device device) {
  const cudaStream_t on = stream(device);  // selects the device, which a new handle belongs to
  thread_local std::map<int, Handle> handles;
  const cudnnHandle_t handle = handles[device.index].get();
  check(cudnnSetStream(handle, on), "cudnnSetStream");
  return handle;
}

cudnnDataType_t cudnn_type(const char* slot, const Tensor& t) {
  switch (t.dtype()) {
    case DType::f32: return CUDNN_DATA_FLOAT;
    case DType::f16: return CUDNN_DATA_HALF;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    default: RELUME_CHECK(false, slot, ": on ", t.device(), " expects f32, f16 or bf16, got ", t);
  }
}

// ---- Descriptors ------------------------------------------------------------------------------------------------------------

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  check(cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
}
Descriptor::~Descriptor() {
  if (descriptor_) cudnnBackendDestroyDescriptor(descriptor_);
}

void Descriptor::finalize() { check(cudnnBackendFinalize(descriptor_), "cudnnBackendFinalize"); }
bool Descriptor::try_finalize() { return cudnnBackendFinalize(descriptor_) == CUDNN_STATUS_SUCCESS; }

void Descriptor::set_bytes(Name name, cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  check(cudnnBackendSetAttribute(descriptor_, name, type, count, values), "cudnnBackendSetAttribute");
}

int64_t Descriptor::read_bytes(Name name, cudnnBackendAttributeType_t type, int64_t count, void* values) const {
  int64_t found = 0;
  check(cudnnBackendGetAttribute(descriptor_, name, type, count, &found, values), "cudnnBackendGetAttribute");
  return found;
}

int64_t Descriptor::read_one(Name name) const {
  int64_t value = 0;
  read(name, &value, 1);
  return value;
}

std::vector<Descriptor> Descriptor::read_descriptors(Name name, cudnnBackendDescriptorType_t type) const {
  std::vector<Descriptor> all;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t left = read_bytes(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr); left > 0; --left)
    raw.push_back(all.emplace_back(type).get());
  const int64_t found = raw.empty() ? 0 : read(name, raw.data(), int64_t(raw.size()));
  all.erase(all.begin() + std::min<int64_t>(found, int64_t(all.size())), all.end());
  return all;
}

// ---- Tensors ----------------------------------------------------------------------------------------------------------------

int64_t alignment_of(const void* pointer) {
  int64_t bytes = 16;
  while (reinterpret_cast<uintptr_t>(pointer) % uintptr_t(bytes) != 0) bytes /= 2;
  return bytes;
}

GraphTensor::GraphTensor(const Tensor& t)
    : sizes{t.shape(0), t.shape(3), t.shape(1), t.shape(2)},
      strides{t.shape(1) * t.shape(2) * t.pitch(), 1, t.shape(2) * t.pitch(), t.pitch()},
      alignment(alignment_of(t.raw())) {}

Descriptor tensor_descriptor(int64_t id, cudnnDataType_t type, const GraphTensor& t, TensorKind kind) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, t.sizes);
  d.set(CUDNN_ATTR_TENSOR_STRIDES, t.strides);
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, t.alignment);
  d.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, kind == TensorKind::virtual_only);
  d.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, kind == TensorKind::by_value);
  d.finalize();
  return d;
}

// ---- Plans ------------------------------------------------------------------------------------------------------------------

namespace {

bool is_wanted(const Descriptor& config, bool full_float) {
  const std::vector<Descriptor> engine = config.read_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  const int64_t room = int64_t(notes.size()), count = engine.at(0).read(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, notes.data(), room);
  return std::none_of(notes.begin(), notes.begin() + std::min(room, count), [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:  // large tiles lose digits
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return true;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_FFT:  // what these lose shows in gradients that are small sums of large terms
      case CUDNN_NUMERICAL_NOTE_WINOGRAD: return full_float;
      default: return false;
    }
  });
}

std::vector<Descriptor> recommended(const PlanTarget& target, const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  if (target.properties) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  if (!heuristics.try_finalize()) return {};
  return heuristics.read_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

Descriptor first_plan(const PlanTarget& target, std::span<const Descriptor> operations, bool full_float) {
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const Descriptor& o : operations) raw.push_back(o.get());
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (target.handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
  graph.set_all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS, raw);
  graph.finalize();
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
    for (const Descriptor& config : recommended(target, graph, mode)) {
      if (!is_wanted(config, full_float)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      if (target.handle) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
      if (target.properties) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (plan.try_finalize()) return plan;
    }
  const std::string reason = last_error();
  throw Error("cuDNN " + std::to_string(cudnnGetVersion()) + " has no engine for this" +
              (reason.empty() ? "" : " (" + reason + ")") + "; try a newer cuDNN, or the CPU");
}

}  // namespace

Plan::Plan(const PlanTarget& target, std::span<const Descriptor> operations, bool full_float)
    : plan_(first_plan(target, operations, full_float)),
      workspace_bytes_(plan_.read_one(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) {}

void Plan::run(cudnnHandle_t handle, Device device, std::span<const int64_t> ids, std::span<void* const> pointers) const {
  const Storage workspace(device, workspace_bytes_, MemoryUse::scratch);
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set_all(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
  pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::array{workspace.data()});
  pack.finalize();
  check(cudnnBackendExecute(handle, plan_.get(), pack.get()), "cudnnBackendExecute");
}

}  // namespace relume::cuda
