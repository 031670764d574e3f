// What the fake of cuDNN finds in descriptors: tensors, and the operations of a graph; and how the operations are computed.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cudnn_graph.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace relume::sim {

using Name = cudnnBackendAttributeName_t;
using Axes = std::array<int64_t, 4>;

struct Failure {
  cudnnStatus_t status;
  std::string what;
};
inline void require(bool condition, const std::string& what, cudnnStatus_t status = CUDNN_STATUS_BAD_PARAM) {
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

// ---- Tensors ----------------------------------------------------------------------------------------------------------------

inline size_t bytes_of(cudnnDataType_t type) { return type == CUDNN_DATA_FLOAT ? 4 : 2; }

struct TensorOf {
  explicit TensorOf(const Fake& d)
      : id(d.one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
        alignment(d.one<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        type(d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)),
        is_virtual(d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)),
        by_value(d.one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {
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
  bool is_virtual, by_value;
  Axes sizes, strides;
};
inline TensorOf tensor_of(const Fake& d, Name name) { return TensorOf(d.part(name, CUDNN_BACKEND_TENSOR_DESCRIPTOR)); }

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

inline char* memory_of(const TensorOf& t, void* at) {
  require(at != nullptr, "the tensor " + std::to_string(t.id) + " has no memory");
  require(reinterpret_cast<uintptr_t>(at) % uintptr_t(t.alignment) == 0, "a pointer is aligned less than its tensor says",
          CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
  return static_cast<char*>(at);
}

inline Values load(const TensorOf& t, void* memory) {
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

inline void store(const TensorOf& t, void* memory, Values& values) {
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

inline Pass pass_of(const Fake& operation) {
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
    require(op.one<float>(names[which][4]) == 1 && op.one<float>(names[which][5]) == 0,
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

struct AttentionOf {
  explicit AttentionOf(const Fake& op)
      : q(tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC)),
        k(tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC)),
        v(tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC)),
        y(tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC)),
        scale(tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC)) {
    const auto [samples, heads, rows, channels] = q.sizes;
    require(k.sizes == Axes{samples, heads, k.sizes[2], channels} && v.sizes == k.sizes && y.sizes == q.sizes,
            "sizes of queries, keys, values and results differ");
    for (const TensorOf& t : {q, k, v, y}) {
      require(t.type == q.type && bytes_of(t.type) == 2, "attention is for one type of 16 bits", CUDNN_STATUS_NOT_SUPPORTED);
      require(t.strides[3] == 1 && channels % 8 == 0 && t.strides[2] % 8 == 0 && t.strides[1] % 8 == 0 && t.alignment >= 16,
              "rows of heads are read 16 bytes at a time", CUDNN_STATUS_NOT_SUPPORTED);
    }
    require(scale.by_value && scale.sizes == Axes{1, 1, 1, 1}, "the scale is a number");
    if (!op.attributes.contains(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC)) return;
    stats = tensor_of(op, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC);
    require(stats->type == CUDNN_DATA_FLOAT && stats->sizes == Axes{samples, heads, rows, 1} &&
                stats->strides == Axes{heads * rows, rows, 1, 1},
            "denominators are dense floats, heads before rows");
  }
  TensorOf q, k, v, y, scale;
  std::optional<TensorOf> stats;
};

inline bool is_convolution(const Fake& op) {
  return op.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
         op.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
         op.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
}
inline bool is_attention(const Fake& op) { return op.type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR; }

inline const std::vector<std::shared_ptr<Fake>>& operations_of(const Fake& graph) {
  return graph.parts(
      CUDNN_ATTR_OPERATIONGRAPH_OPS,
      {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
       CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
       CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR});
}

// What every operation reads and writes.
template <class F> void for_each_tensor(const Fake& graph, F&& f) {
  for (const auto& op : operations_of(graph)) {
    if (is_convolution(*op)) {
      const ConvOf c(*op);
      for (const TensorOf& t : c.read()) f(t, false);
      f(c.written(), true);
    } else if (is_attention(*op)) {
      const AttentionOf a(*op);
      for (const TensorOf& t : {a.q, a.k, a.v, a.scale}) f(t, false);
      f(a.y, true);
      if (a.stats) f(*a.stats, true);
    } else {
      const AddOf a(*op);
      f(a.x, false), f(a.b, false), f(a.y, true);
    }
  }
}

// The tensors of a graph while a plan runs, by their ids.
using Tensors = std::map<int64_t, Values>;
void execute_operation(const Fake& op, Tensors& tensors);

}  // namespace relume::sim
