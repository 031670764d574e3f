#include "tests/cuda_sim/fake_cudnn.h"

#include <cstdio>

#include "tests/cuda_sim/fake_cudnn_graph.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/tf32.h"

struct cudnnContext {
  std::optional<cudaStream_t> stream;
};

namespace relume::sim {
namespace {

int64_t plans = 0;
std::string reason;  // of the last failure

std::map<void*, std::shared_ptr<Fake>>& descriptors() {
  static std::map<void*, std::shared_ptr<Fake>> all;
  return all;
}
std::shared_ptr<Fake>& find(cudnnBackendDescriptor_t d) {
  const auto found = descriptors().find(d);
  require(found != descriptors().end(), "not a descriptor");
  return found->second;
}

// Calls f; what it throws becomes a status.
template <class F> cudnnStatus_t answer(F&& f) {
  try {
    f();
    return CUDNN_STATUS_SUCCESS;
  } catch (const Failure& failure) {
    reason = failure.what;
    return failure.status;
  }
}

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_CONVOLUTION_MODE:
    case CUDNN_TYPE_POINTWISE_MODE:
    case CUDNN_TYPE_HEUR_MODE:
    case CUDNN_TYPE_NUMERICAL_NOTE: return sizeof(int);
    case CUDNN_TYPE_FLOAT: return sizeof(float);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: return 8;
    default: throw Failure{CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "a type of attribute that the fake does not know"};
  }
}

// ---- Finalizing -------------------------------------------------------------------------------------------------------------

void check_graph(const Fake& graph) {
  require(graph.one<cudnnHandle_t>(CUDNN_ATTR_OPERATIONGRAPH_HANDLE) != nullptr, "a graph without a handle");
  std::set<int64_t> made, read;
  for_each_tensor(graph, [&](const TensorOf& t, bool writes) {
    if (t.is_virtual) require(writes || made.contains(t.id), "a virtual tensor is read before it is made");
    if (writes) require(made.insert(t.id).second && !read.contains(t.id), "a tensor is written twice, or after it was read");
    if (!writes) read.insert(t.id);
  });
}

void check_convolution(const Fake& d) {
  require(d.one<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) == CUDNN_DATA_FLOAT, "the fake computes as floats");
  require(d.one<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) == CUDNN_CROSS_CORRELATION, "the fake correlates");
  require(d.one<int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) == 2, "the fake knows pictures only");
  require(d.all<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS) == std::vector<int64_t>{1, 1}, "the fake does not dilate");
  for (const Name name :
       {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS})
    require(d.all<int64_t>(name).size() == 2, "a convolution has two spatial axes");
  require(d.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS) == d.all<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS),
          "cuDNN 9.14 computes some gradients of weights wrongly where the paddings differ");
}

// ---- Engines ----------------------------------------------------------------------------------------------------------------

// What the heuristics offer, best first: an engine of each kind that must be passed over, and the one that computes.
enum Engine { other_bits_every_time, without_plans, on_tensor_cores, plain };
constexpr size_t workspace_bytes = 192;
constexpr int64_t most_samples = 1000;  // so that a test sees what happens where no engine is left

std::vector<int> engines_of(const Fake& heuristics) {
  const Fake& graph = heuristics.part(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  const bool fallback = heuristics.one<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
  bool any = true;
  for_each_tensor(graph, [&](const TensorOf& t, bool) {
    // cuDNN 9.19 leaves 16-bit pixels that begin at odd places to the fallbacks.
    if (bytes_of(t.type) == 2 && t.strides[3] % 2 != 0 && !fallback) any = false;
    if (t.sizes[0] >= most_samples) any = false;
  });
  return any ? std::vector<int>{other_bits_every_time, without_plans, on_tensor_cores, plain} : std::vector<int>{};
}

const Fake& configuration_of(const Fake& plan) {
  return plan.part(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

void check_plan(const Fake& plan) {
  require(plan.one<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != nullptr, "a plan without a handle");
  require(configuration_of(plan).engine != without_plans, "the engine cannot do this after all", CUDNN_STATUS_NOT_SUPPORTED);
  ++plans;
}

void check_pack(const Fake& pack) {
  require(pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size() ==
              pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).size(),
          "as many tensors as pointers");
  pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
}

void finalize(Fake& d) {
  require(!d.finalized, "finalized twice");
  switch (d.type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR: TensorOf{d}; break;
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: check_convolution(d); break;
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
      require(d.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_ADD, "the fake only adds");
      require(d.one<cudnnDataType_t>(CUDNN_ATTR_POINTWISE_MATH_PREC) == CUDNN_DATA_FLOAT, "the fake computes as floats");
      break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: ConvOf{d}; break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: AddOf{d}; break;
    case CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR: AttentionOf{d}; break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: check_graph(d); break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: engines_of(d); break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR: check_plan(d); break;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: check_pack(d); break;
    default: require(false, "the fake gives such descriptors out, and does not take them");
  }
  d.finalized = true;
}

// ---- Reading ----------------------------------------------------------------------------------------------------------------

template <class T> int64_t give(const std::vector<T>& values, int64_t room, void* to) {
  if (room > 0) std::memcpy(to, values.data(), size_t(std::min<int64_t>(room, int64_t(values.size()))) * sizeof(T));
  return int64_t(values.size());
}

int64_t give_configurations(const Fake& heuristics, int64_t room, void* to) {
  const std::vector<int> engines = engines_of(heuristics);
  for (int64_t i = 0; i < std::min<int64_t>(room, int64_t(engines.size())); ++i) {
    Fake& config = *find(static_cast<cudnnBackendDescriptor_t*>(to)[i]);
    require(config.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "results are configurations of engines");
    config.engine = engines[size_t(i)], config.finalized = true;
    // With cuDNN the engine inside the configuration knows its graph.
    config.attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = heuristics.attributes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  }
  return int64_t(engines.size());
}

int64_t read(const Fake& d, Name name, int64_t room, void* to) {
  require(d.finalized, "read before it was finalized", CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: return give_configurations(d, room, to);
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      if (room > 0) {
        Fake& engine = *find(*static_cast<cudnnBackendDescriptor_t*>(to));
        engine.engine = d.engine, engine.finalized = true;
      }
      return 1;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
      if (d.engine == on_tensor_cores) return give(std::vector{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, room, to);
      if (d.engine == other_bits_every_time) return give(std::vector{CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, room, to);
      return 0;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE: return give(std::vector{int64_t(workspace_bytes)}, room, to);
    default: require(false, "an attribute that the fake does not give");
  }
  return 0;
}

// ---- Executing --------------------------------------------------------------------------------------------------------------

// What the engines do to floats that must not be taken for them.
void spoil(Values& values, int engine) {
  static int runs = 0;
  if (engine == other_bits_every_time) ++runs;
  for (double& v : values.numbers) {
    if (engine == on_tensor_cores) v = double(to_tf32(float(v)));
    if (engine == other_bits_every_time) v *= 1 + 1e-6 * runs;
  }
}

std::map<int64_t, void*> memory_of(const Fake& pack) {
  const auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  std::map<int64_t, void*> memory;
  for (size_t i = 0; i < ids.size(); ++i) require(memory.emplace(ids[i], pointers[i]).second, "two pointers for one tensor");
  return memory;
}

const Fake& graph_of(const Fake& plan) {
  return configuration_of(plan).part(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
}

// What the host gives by value is read by the call: its memory may be gone when a captured plan is run again.
Tensors numbers_given(const Fake& plan, const Fake& pack) {
  auto memory = memory_of(pack);
  Tensors given;
  for_each_tensor(graph_of(plan), [&](const TensorOf& t, bool writes) {
    if (t.by_value && !writes) given.emplace(t.id, load(t, memory[t.id]));
  });
  return given;
}

void execute(const Fake& plan, const Fake& pack, Tensors tensors) {
  const DeviceMemoryOpen open;
  std::memset(pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE), 0x5a, workspace_bytes);
  auto memory = memory_of(pack);
  const Fake &config = configuration_of(plan), &graph = graph_of(plan);
  for_each_tensor(graph, [&](const TensorOf& t, bool writes) {
    if (t.by_value) return;
    if (writes || t.is_virtual) return void(tensors.emplace(t.id, Values(t.sizes)));
    Values& values = tensors.emplace(t.id, load(t, memory[t.id])).first->second;
    if (t.type == CUDNN_DATA_FLOAT) spoil(values, config.engine);
  });
  for (const auto& op : operations_of(graph)) execute_operation(*op, tensors);
  for_each_tensor(graph, [&](const TensorOf& t, bool writes) {
    if (writes && !t.is_virtual) store(t, memory[t.id], tensors.at(t.id));
  });
}

}  // namespace

int64_t plans_built() { return plans; }

}  // namespace relume::sim

using namespace relume::sim;

extern "C" {

size_t cudnnGetVersion() { return CUDNN_VERSION; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
    default: return "another status of cuDNN";
  }
}
void cudnnGetLastErrorString(char* message, size_t size) {
  std::snprintf(message, size, "%s", reason.c_str());
  reason.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) { return *handle = new cudnnContext, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) { return delete handle, CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return handle->stream = stream, CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  const auto d = std::make_shared<Fake>();
  d->type = type;
  descriptors()[*descriptor = d.get()] = d;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return answer([&] { require(descriptors().erase(descriptor) == 1, "not a descriptor"); });
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return answer([&] { finalize(*find(descriptor)); });
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  return answer([&] {
    Fake& d = *find(descriptor);
    require(!d.finalized, "set after it was finalized");
    Fake::Attribute attribute;
    attribute.bytes.resize(size_t(count) * size_of(type));
    std::memcpy(attribute.bytes.data(), values, attribute.bytes.size());
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
      for (int64_t i = 0; i < count; ++i) {
        attribute.descriptors.push_back(find(static_cast<const cudnnBackendDescriptor_t*>(values)[i]));
        require(attribute.descriptors.back()->finalized, "set before it was finalized", CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
      }
    d.attributes[name] = std::move(attribute);
  });
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t room, int64_t* count, void* values) {
  return answer([&] { *count = read(*find(descriptor), name, room, values); });
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  return answer([&] {
    require(handle->stream.has_value(), "the handle has no stream");
    require(find(plan)->finalized && find(pack)->finalized, "run before it was finalized",
            CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    enqueue(*handle->stream, [plan_kept = find(plan), pack_kept = find(pack), given = numbers_given(*find(plan), *find(pack))] {
      execute(*plan_kept, *pack_kept, given);
    });
  });
}

}  // extern "C"
