// cuDNN's graph API in C++: descriptors that free themselves, tensors with their strides, and plans: how cuDNN computes a graph
// of operations on tensors of certain sizes.
#pragma once

#include <cudnn_graph.h>

#include <array>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume::cuda {

// Throws an Error that names the call and what cuDNN says.
void check(cudnnStatus_t status, const char* call);

// cuDNN's handle of this thread and the device, on the device's stream.
cudnnHandle_t cudnn_handle(Device device);

// cuDNN's name for the types it computes with here; refuses others in the name of the slot.
cudnnDataType_t cudnn_type(const char* slot, const Tensor& t);

// The tag that goes with an attribute's C++ type. Pointers to data have the C++ type of descriptors, and a function of their
// own.
constexpr auto attribute_type(int64_t) { return CUDNN_TYPE_INT64; }
constexpr auto attribute_type(float) { return CUDNN_TYPE_FLOAT; }
constexpr auto attribute_type(bool) { return CUDNN_TYPE_BOOLEAN; }
constexpr auto attribute_type(cudnnDataType_t) { return CUDNN_TYPE_DATA_TYPE; }
constexpr auto attribute_type(cudnnConvolutionMode_t) { return CUDNN_TYPE_CONVOLUTION_MODE; }
constexpr auto attribute_type(cudnnPointwiseMode_t) { return CUDNN_TYPE_POINTWISE_MODE; }
constexpr auto attribute_type(cudnnBackendHeurMode_t) { return CUDNN_TYPE_HEUR_MODE; }
constexpr auto attribute_type(cudnnBackendNumericalNote_t) { return CUDNN_TYPE_NUMERICAL_NOTE; }
constexpr auto attribute_type(cudnnHandle_t) { return CUDNN_TYPE_HANDLE; }
constexpr auto attribute_type(cudnnBackendDescriptor_t) { return CUDNN_TYPE_BACKEND_DESCRIPTOR; }

// One descriptor. What refers to others keeps them alive by itself, inside cuDNN.
class Descriptor {
 public:
  using Name = cudnnBackendAttributeName_t;
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept { return std::swap(descriptor_, other.descriptor_), *this; }
  ~Descriptor();
  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class T> void set(Name name, T value) { set_bytes(name, attribute_type(value), 1, &value); }
  void set(Name name, const Descriptor& value) { set(name, value.get()); }
  template <class T, size_t n> void set(Name name, const std::array<T, n>& values) { set_all<T>(name, values); }
  template <class T> void set_all(Name name, std::span<const T> values) {
    set_bytes(name, attribute_type(T()), int64_t(values.size()), values.data());
  }
  void set_pointers(Name name, std::span<void* const> pointers) {
    set_bytes(name, CUDNN_TYPE_VOID_PTR, int64_t(pointers.size()), pointers.data());
  }
  void set_text(Name name, std::string_view text) { set_bytes(name, CUDNN_TYPE_CHAR, int64_t(text.size()), text.data()); }
  void finalize();
  bool try_finalize();  // false where cuDNN cannot do what is described

  // `room` values at most; the result says how many there are.
  template <class T> int64_t read(Name name, T* values, int64_t room) const {
    return read_bytes(name, attribute_type(T()), room, values);
  }
  int64_t read_one(Name name) const;
  std::vector<Descriptor> read_descriptors(Name name, cudnnBackendDescriptorType_t type) const;

 private:
  void set_bytes(Name name, cudnnBackendAttributeType_t type, int64_t count, const void* values);
  int64_t read_bytes(Name name, cudnnBackendAttributeType_t type, int64_t count, void* values) const;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

// The alignment of an address in bytes, as far as engines care: they read 16 bytes at most at a time.
int64_t alignment_of(const void* pointer);

// How a tensor lies in memory. Axes are in cuDNN's order, N C H W or K C R S; the strides say that channels come last.
struct GraphTensor {
  GraphTensor(std::array<int64_t, 4> sizes_, std::array<int64_t, 4> strides_, int64_t alignment_)
      : sizes(sizes_), strides(strides_), alignment(alignment_) {}
  explicit GraphTensor(const Tensor& t);  // [N, H, W, C] or [O, kh, kw, I], dense or pitched
  auto operator<=>(const GraphTensor&) const = default;
  std::array<int64_t, 4> sizes, strides;  // in elements
  int64_t alignment;                      // of the first element, in bytes
};

// A tensor of a graph: in the device's memory; passing only from one operation to the next, without memory; or a number of the
// host, whose address stands for it when the plan is run.
enum class TensorKind : uint8_t { stored, virtual_only, by_value };
Descriptor tensor_descriptor(int64_t id, cudnnDataType_t type, const GraphTensor& t, TensorKind kind = TensorKind::stored);

// What a plan is made for: the device of a handle or, where there is none, a device by its properties. The latter shows that
// cuDNN has a plan; it is not for running.
struct PlanTarget {
  cudnnHandle_t handle = nullptr;
  const Descriptor* properties = nullptr;
};

// How a device computes a graph: made once, run often, by the thread that made it.
class Plan {
 public:
  // The first that cuDNN recommends and that can be had. Never one that gives other bits in another run; `full_float`: none
  // that rounds the floats it multiplies (TF32).
  Plan(const PlanTarget& target, std::span<const Descriptor> operations, bool full_float);
  // On the handle's stream, tensors by their ids; scratch comes from the device's pool.
  void run(cudnnHandle_t handle, Device device, std::span<const int64_t> ids, std::span<void* const> pointers) const;

 private:
  Descriptor plan_;
  int64_t workspace_bytes_;
};

// The plans of one thread, as its handle is, by device and by what they compute.
template <class Key> class PlanCache {
 public:
  // The plan of an earlier call, else what make() gives.
  template <class Make> const Plan& find(Device device, const Key& key, Make&& make) {
    const std::pair<int, Key> place(device.index, key);
    auto found = plans_.find(place);
    if (found == plans_.end()) {
      if (plans_.size() >= most_plans) plans_.clear();
      found = plans_.emplace(place, make()).first;
    }
    return found->second;
  }

 private:
  static constexpr size_t most_plans = 1024;  // pictures come in many sizes, and every size has its plans
  std::map<std::pair<int, Key>, Plan> plans_;
};

}  // namespace relume::cuda
