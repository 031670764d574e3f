// The tape: what an operation records, and backward() over it (design D3). First-order gradients, eager execution, one backward
// pass per recorded graph. Grad mode is per thread.
#pragma once

#include <functional>
#include <initializer_list>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

using Grads = std::vector<Tensor>;  // one per input, in order; undefined for an input that needs none

// Which inputs of an operation want a gradient.
class Needs {
 public:
  explicit Needs(const GradNode& node) : node_(node) {}
  bool operator()(int input) const;

 private:
  const GradNode& node_;
};
using Backward = std::function<Grads(const Tensor& dy, const Needs& needs)>;

// A leaf (its gradient is kept) or an operation (its gradient passes through). Users see only the functions below.
struct GradNode {
  const char* name = "leaf";
  uint64_t sequence = 0;                          // order of recording; 0 for leaves
  std::vector<std::shared_ptr<GradNode>> inputs;  // null where no gradient is needed
  Backward backward;
  Tensor gradient;
  Shape shape;
  bool released = false;  // backward() has passed
  ~GradNode();            // lets go of a long chain without recursion
};

// A tensor kept for the backward pass: its data without the gradient slot, so that no ownership cycle arises. Using it after
// the data was changed in place is an error that names the operation.
class Saved {
 public:
  explicit Saved(const Tensor& t) : tensor_(t ? t.detach() : t), version_(t ? t.storage()->version() : 0) {}
  operator const Tensor&() const { return get(); }
  const Tensor& get() const;
  explicit operator bool() const { return bool(tensor_); }

 private:
  Tensor tensor_;
  uint64_t version_;
};
inline Saved saved(const Tensor& t) { return Saved(t); }

// Marks y as the result of operation `name` on `inputs`; `backward` gives their gradients from y's. Returns y. Records nothing
// under NoGrad or when no input needs a gradient (then `backward` is dropped at once).
Tensor record(const char* name, Tensor y, std::initializer_list<Tensor> inputs, Backward backward);

// True when record() would record: what an operation asks before it computes something only the backward pass needs.
bool recording(std::initializer_list<Tensor> inputs);

Tensor require_grad(const Tensor& x);  // a leaf over x's data; its gradient is accumulated by backward()
bool requires_grad(const Tensor& x);
// The same for a leaf that is there, and all handles to it: off, it is data and its gradient is gone; on, it is a leaf again.
void set_requires_grad(const Tensor& leaf, bool on);
Tensor grad(const Tensor& leaf);  // undefined until a backward pass reached it
void clear_grad(const Tensor& leaf);

// Accumulates dy * d(y)/d(leaf) into every leaf. dy defaults to 1 for a y with one element. The graph is released as it is
// passed.
void backward(const Tensor& y, const Tensor& dy = {});

bool grad_enabled();
// Nothing is recorded on this thread while one lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};

// y = f(inputs) without keeping what f records: the backward pass runs f again (activation checkpointing, Chen et al. 2016). f
// must compute the same both times (random numbers here are counter-based, so it does); values and gradients are bit-identical
// to plain f(inputs) where nobody else uses the inputs. Every recorded tensor that f uses is an input or a leaf: parameters
// receive their gradients. An input may be undefined.
Tensor checkpoint(std::function<Tensor(const std::vector<Tensor>&)> f, const std::vector<Tensor>& inputs);
Tensor checkpoint(std::function<Tensor(const Tensor&)> f, const Tensor& x);  // of one input

}  // namespace relume
