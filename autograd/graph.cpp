#include "autograd/graph.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

#include "tensor/kernels/elementwise.h"

namespace relume {

namespace {

thread_local bool grad_mode = true;

class GradMode {
 public:
  explicit GradMode(bool enabled) : before_(grad_mode) { grad_mode = enabled; }
  ~GradMode() { grad_mode = before_; }

 private:
  bool before_;
};

uint64_t next_sequence() {
  static std::atomic<uint64_t> counter{0};
  return ++counter;
}

// node.gradient += g. In place when nobody else can see the sum; otherwise into fresh memory, since operations may hand the
// same tensor to several inputs. Gradients of leaves are dense, as optimisers take them.
void accumulate(GradNode& node, const Tensor& g, const char* from) {
  RELUME_BUG(g.shape() == node.shape, from, " gave a gradient of shape ", g.shape(), " for an input of shape ", node.shape);
  if (!node.gradient) {
    node.gradient = node.sequence == 0 ? g.contiguous() : g;
    return;
  }
  const Tensor before = std::exchange(node.gradient, {});
  const Tensor sum = before.is_sole_owner() ? before : empty_like(before);
  kernels::axpby.on(sum.device())(sum, 1, before, 1, g);
  node.gradient = sum;
}

Tensor record_always(const char* name, Tensor y, std::span<const Tensor> inputs, Backward backward) {
  auto node = std::make_shared<GradNode>();
  node->name = name;
  node->sequence = next_sequence();
  node->shape = y.shape();
  node->backward = std::move(backward);
  for (const Tensor& x : inputs) node->inputs.push_back(x ? x.grad_slot() : nullptr);
  y.grad_slot() = std::move(node);
  return y;
}

void make_leaf(const Tensor& x) {
  x.grad_slot() = std::make_shared<GradNode>();
  x.grad_slot()->shape = x.shape();
}

Tensor leaf_over(const Tensor& x) {
  Tensor leaf = x.detach();
  make_leaf(leaf);
  return leaf;
}

}  // namespace

bool Needs::operator()(int input) const { return node_.inputs[size_t(input)] != nullptr; }

GradNode::~GradNode() {
  std::vector<std::shared_ptr<GradNode>> pending = std::move(inputs);
  while (!pending.empty()) {
    const std::shared_ptr<GradNode> node = std::move(pending.back());
    pending.pop_back();
    if (node && node.use_count() == 1) {
      std::ranges::move(node->inputs, std::back_inserter(pending));
      node->inputs.clear();
    }
  }
}

const Tensor& Saved::get() const {
  RELUME_CHECK(!tensor_ || tensor_.storage()->version() == version_, "backward: a tensor saved for the gradient (", tensor_,
               ") was changed in place since; run backward() before the optimiser step or the load");
  return tensor_;
}

bool recording(std::initializer_list<Tensor> inputs) {
  return grad_mode && std::ranges::any_of(inputs, [](const Tensor& t) { return t && t.grad_slot(); });
}

Tensor record(const char* name, Tensor y, std::initializer_list<Tensor> inputs, Backward backward) {
  return recording(inputs) ? record_always(name, std::move(y), {inputs.begin(), inputs.size()}, std::move(backward)) : y;
}

Tensor require_grad(const Tensor& x) {
  RELUME_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::f64, "require_grad: ", x,
               " given; gradients are kept in f32 or f64");
  return leaf_over(x);
}

bool requires_grad(const Tensor& x) { return x && x.grad_slot(); }

void set_requires_grad(const Tensor& leaf, bool on) {
  RELUME_CHECK(!requires_grad(leaf) || leaf.grad_slot()->sequence == 0, "set_requires_grad: ", leaf,
               " is the result of an operation, no leaf");
  if (!on)
    leaf.grad_slot() = nullptr;
  else if (!requires_grad(leaf))
    make_leaf(leaf);
}

Tensor grad(const Tensor& leaf) {
  RELUME_CHECK(requires_grad(leaf) && leaf.grad_slot()->sequence == 0, "grad: ", leaf,
               " is no leaf; ask for the gradient of a tensor made by require_grad()");
  return leaf.grad_slot()->gradient;
}

void clear_grad(const Tensor& leaf) {
  if (requires_grad(leaf)) leaf.grad_slot()->gradient = {};
}

void backward(const Tensor& y, const Tensor& dy) {
  RELUME_CHECK(requires_grad(y), "backward: ", y, " does not depend on a tensor that requires a gradient");
  RELUME_CHECK(dy || y.numel() == 1, "backward: ", y, " has ", y.numel(), " elements; give the gradient towards it");
  RELUME_CHECK(!dy || dy.shape() == y.shape(), "backward: gradient ", dy, " given for ", y);
  RELUME_CHECK(!dy || !dy.grad_slot(),
               "backward: the gradient given is itself recorded; second-order gradients are not supported");
  const GradMode off(false);

  const auto later = [](const auto& a, const auto& b) { return a->sequence < b->sequence; };
  std::vector<std::shared_ptr<GradNode>> heap;  // reached operations, the last recorded on top: all its users have been passed
  const auto reach = [&](const std::shared_ptr<GradNode>& node, const Tensor& g, const char* from) {
    RELUME_CHECK(!node->released, "backward: the graph of '", node->name, "' has been released by an earlier backward()");
    const bool first = !node->gradient;
    accumulate(*node, g, from);
    if (!first || node->sequence == 0) return;
    heap.push_back(node);
    std::ranges::push_heap(heap, later);
  };
  reach(y.grad_slot(), dy ? dy : Tensor::full(y.shape(), 1, y.dtype(), y.device()), "backward");

  while (!heap.empty()) {
    std::ranges::pop_heap(heap, later);
    const std::shared_ptr<GradNode> node = std::move(heap.back());
    heap.pop_back();
    const Tensor dy_node = std::exchange(node->gradient, {});
    Grads grads;
    try {
      grads = node->backward(dy_node, Needs(*node));
    } catch (Error& e) {
      e.add_context(std::string("in the gradient of ") + node->name);
      throw;
    }
    RELUME_BUG(grads.size() == node->inputs.size(), node->name, " returned ", grads.size(), " gradients for ",
               node->inputs.size());
    node->released = true;
    node->backward = nullptr;  // frees what the closure saved
    for (size_t i = 0; i < grads.size(); ++i)
      if (node->inputs[i] && grads[i]) reach(node->inputs[i], grads[i], node->name);
    node->inputs.clear();
  }
}

bool grad_enabled() { return grad_mode; }
NoGrad::NoGrad() : before_(grad_mode) { grad_mode = false; }
NoGrad::~NoGrad() { grad_mode = before_; }

Tensor checkpoint(std::function<Tensor(const std::vector<Tensor>&)> f, const std::vector<Tensor>& inputs) {
  if (!grad_mode) return f(inputs);
  std::vector<Tensor> detached;
  std::vector<Saved> kept;
  for (const Tensor& x : inputs) {
    detached.push_back(x ? x.detach() : x);
    kept.push_back(saved(x));
  }
  Tensor y;
  {
    const NoGrad off;
    y = f(detached).detach();
  }
  return record_always("checkpoint", y, inputs,
                       [f = std::move(f), kept = std::move(kept)](const Tensor& dy, const Needs& needs) -> Grads {
                         const GradMode on(true);
                         std::vector<Tensor> again;
                         for (size_t i = 0; i < kept.size(); ++i)
                           again.push_back(needs(int(i)) ? leaf_over(kept[i]) : kept[i].get());
                         const Tensor result = f(again);
                         if (requires_grad(result)) backward(result, dy);
                         Grads grads;
                         for (size_t i = 0; i < kept.size(); ++i) grads.push_back(needs(int(i)) ? grad(again[i]) : Tensor());
                         return grads;
                       });
}

Tensor checkpoint(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  return checkpoint([f = std::move(f)](const std::vector<Tensor>& inputs) { return f(inputs.front()); }, std::vector{x});
}

}  // namespace relume
