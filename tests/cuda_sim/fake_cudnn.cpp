#include "tests/cuda_sim/fake_cudnn.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cudnn_graph.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_sim/fake_runtime.h"

struct cudnnContext {
  std::optional<cudaStream_t> stream;
};

namespace relume::sim {
namespace {

using Name = cudnnBackendAttributeName_t;
using Axes = std::array<int64_t, 4>;

int64_t plans = 0;
std::string reason;  // of the last failure

struct Failure {
  cudnnStatus_t status;
  std::string what;
};
void require(bool condition, const std::string& what, cudnnStatus_t status = CUDNN_STATUS_BAD_PARAM) {
  if (!condition) throw Failure{status, what};
}

struct Fake {
  struct Attribute {
    std::vector<char> bytes;
    std::vector<std::shared_ptr<Fake>> descriptors;
  };
  const Attribute& attribute(Name name) const {
    const auto found = attributes.find(name);
    require(found != attributes.end(), "the attribute " + std::to_string(name) + " is missing");
    return found->second;
  }
  template <class T> std::vector<T> all(Name name) const {
    const std::vector<char>& bytes = attribute(name).bytes;
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  template <class T> T one(Name name) const {
    const std::vector<char>& bytes = attribute(name).bytes;
    require(bytes.size() == sizeof(T), "the attribute " + std::to_string(name) + " is not one value of its type");
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  const std::vector<std::shared_ptr<Fake>>& parts(Name name, const std::set<cudnnBackendDescriptorType_t>& types) const {
    const Attribute& a = attribute(name);
    require(!a.descriptors.empty(), "the attribute " + std::to_string(name) + " holds no descriptor");
    for (const auto& part : a.descriptors)
      require(part->finalized && types.contains(part->type), "the attribute " + std::to_string(name) + " holds another one");
    return a.descriptors;
  }
  const Fake& part(Name name, cudnnBackendDescriptorType_t kind) const { return *parts(name, {kind}).at(0); }

  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  int engine = 0;  // of an engine, or of the configuration of one
  std::map<Name, Attribute> attributes;
};

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
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: return 8;
    default: throw Failure{CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "a type of attribute that the fake does not know"};
  }
}

// ---- Tensors ----------------------------------------------------------------------------------------------------------------

size_t bytes_of(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT ? 4 : 2; }

struct TensorOf {
  explicit TensorOf(const Fake& d)
      : id(d.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
        alignment(d.one<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        type(d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)),
        is_virtual(d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
    const auto dims = d.all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS), steps = d.all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    require(dims.size() == 4 && steps.size() == 4, "a tensor has four sizes and four strides");
    for (size_t i = 0; i < 4; ++i) {
      require(dims[i] > 0 && steps[i] > 0, "sizes and strides are positive");
      sizes[i] = dims[i], strides[i] = steps[i];
    }
    require(type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_HALF || type == CUDNN_DATA_BFLOAT16,
            "a type the fake does not know");
    require(alignment > 0 && alignment % int64_t(bytes_of(type)) == 0, "the alignment is no multiple of the element's size");
  }
  int64_t offset(const Axes& at) const {
    return at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2] + at[3] * strides[3];
  }
  int64_t id, alignment;
  cudnnDataType_t type;
  bool is_virtual;
  Axes sizes, strides;
};
TensorOf tensor_of(const Fake& d, Name name) { return TensorOf(d.part(name, CUDNN_BACKEND_TENSOR_DESCRIPTOR)); }

template <class F> void for_each_index(const Axes& sizes, F&& f) {
  Axes at;
  for (at[0] = 0; at[0] < sizes[0]; ++at[0])
    for (at[1] = 0; at[1] < sizes[1]; ++at[1])
      for (at[2] = 0; at[2] < sizes[2]; ++at[2])
        for (at[3] = 0; at[3] < sizes[3]; ++at[3]) f(at);
}

// The numbers of a tensor while a plan runs, densely.
struct Values {
  explicit Values(const Axes& sizes_) : sizes(sizes_), numbers(size_t(sizes[0] * sizes[1] * sizes[2] * sizes[3])) {}
  double& operator()(const Axes& at) {
    return numbers[size_t(((at[0] * sizes[1] + at[1]) * sizes[2] + at[2]) * sizes[3] + at[3])];
  }
  Axes sizes;
  std::vector<double> numbers;
};

char* memory_of(const TensorOf& t, void* at) {
  require(at != nullptr, "the tensor " + std::to_string(t.id) + " has no memory");
  require(reinterpret_cast<uintptr_t>(at) % uintptr_t(t.alignment) == 0, "a pointer is aligned less than its tensor says",
          CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  return static_cast<char*>(at);
}

Values load(const TensorOf& t, void* memory) {
  Values values(t.sizes);
  const char* const begin = memory_of(t, memory);
  for_each_index(t.sizes, [&](const Axes& at) {
    const void* from = begin + t.offset(at) * int64_t(bytes_of(t.type));
    values(at) = t.type == CUDNN_DATA_HALF       ? double(__half2float(*static_cast<const __half*>(from)))
                 : t.type == CUDNN_DATA_BFLOAT16 ? double(__bfloat162float(*static_cast<const __nv_bfloat16*>(from)))
                                                 : double(*static_cast<const float*>(from));
  });
  return values;
}

void store(const TensorOf& t, void* memory, Values& values) {
  char* const begin = memory_of(t, memory);
  for_each_index(t.sizes, [&](const Axes& at) {
    void* to = begin + t.offset(at) * int64_t(bytes_of(t.type));
    const float value = float(values(at));
    if (t.type == CUDNN_DATA_HALF)
      *static_cast<__half*>(to) = __float2half_rn(value);
    else if (t.type == CUDNN_DATA_BFLOAT16)
      *static_cast<__nv_bfloat16*>(to) = __float2bfloat16_rn(value);
    else
      *static_cast<float*>(to) = value;
  });
}

// ---- Operations -------------------------------------------------------------------------------------------------------------

enum Pass { forward, backward_data, backward_weight };

Pass pass_of(const Fake& operation) {
  switch (operation.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR: return forward;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return backward_data;
    default: return backward_weight;
  }
}

struct ConvOf {
  explicit ConvOf(const Fake& op) : ConvOf(op, pass_of(op)) {}
  const TensorOf& written() const { return pass == forward ? y : pass == backward_data ? x : w; }
  std::vector<TensorOf> read() const {
    return pass == forward ? std::vector{x, w} : pass == backward_data ? std::vector{w, y} : std::vector{x, y};
  }

  Pass pass;
  TensorOf x, w, y;
  std::vector<int64_t> stride, before, after;

 private:
  static constexpr Name names[3][6] = {
      {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};

  ConvOf(const Fake& op, Pass which)
      : pass(which), x(tensor_of(op, names[which][0])), w(tensor_of(op, names[which][1])), y(tensor_of(op, names[which][2])) {
    const Fake& options = op.part(names[which][3], CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    stride = options.all<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    before = options.all<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    after = options.all<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
    require(op.one<double>(names[which][4]) == 1 && op.one<double>(names[which][5]) == 0,
            "the fake knows alpha 1 and beta 0 only");
    require(x.sizes[0] == y.sizes[0] && x.sizes[1] == w.sizes[1] && y.sizes[1] == w.sizes[0],
            "numbers of samples or channels differ");
    for (size_t i = 0; i < 2; ++i)
      require(y.sizes[i + 2] == (x.sizes[i + 2] + before[i] + after[i] - w.sizes[i + 2]) / stride[i] + 1,
              "the size of the output does not follow from the input's");
    for (const TensorOf& t : {x, w, y}) require(t.is_virtual || t.type == x.type, "types differ");
  }
};

struct AddOf {
  explicit AddOf(const Fake& op)
      : x(tensor_of(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC)),
        b(tensor_of(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC)),
        y(tensor_of(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC)) {
    op.part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    require(x.sizes == y.sizes, "the sizes of a sum differ from its terms'");
    for (size_t i = 0; i < 4; ++i)
      require(b.sizes[i] == y.sizes[i] || b.sizes[i] == 1, "the second term cannot be repeated to fit");
  }
  TensorOf x, b, y;
};

bool is_convolution(const Fake& op) { return op.type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR; }

const std::vector<std::shared_ptr<Fake>>& operations_of(const Fake& graph) {
  return graph.parts(
      CUDNN_ATTR_OPERATIONGRAPH_OPS,
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
       CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR});
}

// What every operation reads and writes.
template <class F> void for_each_tensor(const Fake& graph, F&& f) {
  for (const auto& op : operations_of(graph)) {
    if (is_convolution(*op)) {
      const ConvOf c(*op);
      for (const TensorOf& t : c.read()) f(t, false);
      f(c.written(), true);
    } else {
      const AddOf a(*op);
      f(a.x, false), f(a.b, false), f(a.y, true);
    }
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

using Tensors = std::map<int64_t, Values>;

// Calls f(x's index, w's index, y's index) for every product of the convolution.
template <class F> void for_each_product(const ConvOf& c, F&& f) {
  for_each_index(c.y.sizes, [&](const Axes& y) {
    for_each_index({1, c.w.sizes[1], c.w.sizes[2], c.w.sizes[3]}, [&](const Axes& tap) {
      const int64_t row = y[2] * c.stride[0] - c.before[0] + tap[2], column = y[3] * c.stride[1] - c.before[1] + tap[3];
      if (row < 0 || row >= c.x.sizes[2] || column < 0 || column >= c.x.sizes[3]) return;
      f(Axes{y[0], tap[1], row, column}, Axes{y[1], tap[1], tap[2], tap[3]}, y);
    });
  });
}

void execute_convolution(const ConvOf& c, Tensors& tensors) {
  Values &x = tensors.at(c.x.id), &w = tensors.at(c.w.id), &y = tensors.at(c.y.id);
  for_each_product(c, [&](const Axes& at_x, const Axes& at_w, const Axes& at_y) {
    if (c.pass == forward) y(at_y) += x(at_x) * w(at_w);
    if (c.pass == backward_data) x(at_x) += w(at_w) * y(at_y);
    if (c.pass == backward_weight) w(at_w) += x(at_x) * y(at_y);
  });
}

void execute_add(const AddOf& a, Tensors& tensors) {
  Values &x = tensors.at(a.x.id), &b = tensors.at(a.b.id), &y = tensors.at(a.y.id);
  for_each_index(a.y.sizes, [&](const Axes& at) {
    Axes from;
    for (size_t i = 0; i < 4; ++i) from[i] = a.b.sizes[i] == 1 ? 0 : at[i];
    y(at) = x(at) + b(from);
  });
}

// What the engines do to floats that must not be taken for them.
void spoil(Values& values, int engine) {
  static int runs = 0;
  if (engine == other_bits_every_time) ++runs;
  for (double& v : values.numbers) {
    if (engine == on_tensor_cores) v = double(__bfloat162float(__float2bfloat16_rn(float(v))));
    if (engine == other_bits_every_time) v *= 1 + 1e-6 * runs;
  }
}

void execute(const Fake& plan, const Fake& pack) {
  const DeviceMemoryOpen open;
  const auto ids = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  std::memset(pack.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE), 0x5a, workspace_bytes);
  std::map<int64_t, void*> memory;
  for (size_t i = 0; i < ids.size(); ++i) require(memory.emplace(ids[i], pointers[i]).second, "two pointers for one tensor");
  const Fake& config = configuration_of(plan);
  const Fake& graph = config.part(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  Tensors tensors;
  for_each_tensor(graph, [&](const TensorOf& t, bool writes) {
    if (writes || t.is_virtual) return void(tensors.emplace(t.id, Values(t.sizes)));
    Values& values = tensors.emplace(t.id, load(t, memory[t.id])).first->second;
    if (t.type == CUDNN_DATA_FLOAT) spoil(values, config.engine);
  });
  for (const auto& op : operations_of(graph))
    is_convolution(*op) ? execute_convolution(ConvOf(*op), tensors) : execute_add(AddOf(*op), tensors);
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
    enqueue(*handle->stream, [plan_kept = find(plan), pack_kept = find(pack)] { execute(*plan_kept, *pack_kept); });
  });
}

}  // extern "C"
