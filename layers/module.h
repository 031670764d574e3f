// The module tree. A parameter's path in the tree is its name in the published checkpoint (design D4): declaration is
// registration, order is declaration order. Modules neither copy nor move.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "autograd/elementwise.h"
#include "layers/finite.h"
#include "tensor/core/source.h"

namespace relume {

// How a tensor lies on disk, when not as in memory. conv: memory [O, kh, kw, I], disk [O, I, kh, kw]. last_first: the last axis
// stands first on disk; so do the input channels of a transposed convolution, memory [O, kh, kw, I].
enum class StoredAs { same, conv, last_first };

struct NamedTensor {
  std::string name;  // full path: "layers.0.residual_group.blocks.0.attn.qkv.weight"
  Tensor tensor;
  StoredAs stored_as = StoredAs::same;
};

class Module {
 public:
  // A child of `parent` (null for a root) under `name`; an empty name adds nothing to the paths. `device` is a root's: the
  // parameters of the whole tree lie there.
  Module(Module* parent, std::string name, Device device = {});
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  std::vector<NamedTensor> parameters()
      const;                                 // of the whole subtree, in declaration order, with names relative to this module
  std::vector<NamedTensor> buffers() const;  // state without gradient that checkpoints carry
  int64_t parameter_count() const;           // numbers, not tensors

  // Whether parameters of the subtree get gradients: they do unless a network is frozen.
  void set_trainable(bool on) const;
  // Converts the parameters: a network that is only used takes half in 16 bits, and need not convert them at every use. Before
  // anything is captured of it (tensor/cuda/captured_call.h), for parameters of a GPU; on the CPU load_lazily() has them as
  // their file does.
  void set_parameter_type(DType type) const;
  // Training mode switches stochastic depth on. A module starts in evaluation mode.
  void set_training(bool training);
  bool training() const { return training_; }

  Device device() const { return device_; }
  std::string path() const;  // full dotted path from the root

 protected:
  // f32 memory on the device until set_parameter_type(), with undefined contents; call an initialiser (layers/init.h) or load
  // before use.
  Tensor parameter(const std::string& name, const Shape& shape, StoredAs stored_as = StoredAs::same);
  // A value for checkpoints alone, on the CPU.
  void buffer(const std::string& name, Tensor value);

  // Runs f; errors gain the line "in <path>". Within a FiniteScope its result must be finite.
  template <class F> auto with_path(F&& f) const {
    try {
      auto result = f();
      if constexpr (std::is_same_v<decltype(result), Tensor>)
        if (FiniteScope::active()) FiniteScope::check(result);
      return result;
    } catch (Error& e) {
      e.add_context("in " + (path().empty() ? std::string("the network") : path()));
      throw;
    }
  }

 private:
  struct Entry {  // a child module, a parameter or a buffer: one list keeps the order of declaration
    enum class Kind { child, parameter, buffer } kind;
    NamedTensor tensor;
    Module* child = nullptr;
  };
  void collect(const std::string& prefix, Entry::Kind kind, std::vector<NamedTensor>& out) const;

  Module* parent_;
  std::string name_;
  Device device_;
  bool training_ = false;
  std::vector<Entry> entries_;
};

// A numbered list of modules of one type: its members are "0", "1", … below the list's own name.
template <class T> class ModuleList : public Module {
 public:
  ModuleList(Module* parent, std::string name) : Module(parent, std::move(name)) {}
  template <class... Args> T& add(Args&&... args) {
    items_.push_back(std::make_unique<T>(this, std::to_string(items_.size()), std::forward<Args>(args)...));
    return *items_.back();
  }
  size_t size() const { return items_.size(); }
  T& operator[](size_t i) const { return *items_[i]; }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

// A parameter in the type of the data it meets (see cast()); undefined stays undefined.
inline Tensor parameter_for(const Tensor& x, const Tensor& parameter) {
  return parameter ? cast(parameter, x.dtype()) : parameter;
}

// A tensor of any device as it lies on disk (axes in the order of the file), on the CPU; and one of the CPU back in memory
// order, where it has `shape`. Both may give the tensor itself.
Tensor to_stored(const Tensor& t, StoredAs stored_as);
Tensor from_stored(const Tensor& stored, const Shape& shape, StoredAs stored_as);
Shape stored_shape(const Shape& shape, StoredAs stored_as);

// Copies every parameter of `module` from `source`, converting floats to the parameter's dtype. All missing, unexpected and
// mis-shaped names are reported in one InputError, each once, with both shapes; then nothing has been changed. Buffers follow
// from the configuration: those the source holds must have the right shape and are not read; those it lacks are not missed.
void load_strict(const Module& module, const TensorSource& source);

// The same without reading yet: kernels read weights where the source has them, at every use, in the type they are stored in;
// what else is asked for is read then, and let go where a kernel keeps a packed copy of it. The source stays open; the
// parameters are read-only from now on. On a GPU it is load_strict().
void load_lazily(const Module& module, const std::shared_ptr<const TensorSource>& source);

// Parameters and buffers under their published names and shapes, on the CPU, ready to be written.
std::vector<NamedTensor> stored_state(const Module& module);

}  // namespace relume
