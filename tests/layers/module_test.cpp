#include "layers/module.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "autograd/reduce.h"
#include "data/checkpoint/memory_source.h"
#include "layers/conv2d.h"
#include "layers/init.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/threads.h"

namespace relume::test {
namespace {

struct Leaf : Module {
  Leaf(Module* parent, std::string name, int64_t size) : Module(parent, std::move(name)), w(parameter("w", {size})) {}
  Tensor w;
};

// One of everything: a parameter and a buffer of its own, children, a nameless level, a list.
struct Tree : Module {
  Tree()
      : Module(nullptr, ""),
        scale(parameter("scale", {3})),
        conv(this, "conv", {.in = 2, .out = 3}),
        nameless(this, ""),
        hidden(&nameless, "hidden", 5),
        leaves(this, "leaves"),
        fc(this, "fc", {.in = 3, .out = 2, .bias = false}) {
    buffer("index", Tensor::of<int64_t>({2}, {7, 8}));
    leaves.add(4), leaves.add(6);
    uint64_t seed = 1;
    for (const NamedTensor& p : parameters()) p.tensor.copy_from(uniform(p.tensor.shape(), seed++));
  }
  Tensor scale;
  Conv2d conv;
  Module nameless;
  Leaf hidden;
  ModuleList<Leaf> leaves;
  Linear fc;
};

std::vector<std::string> names(const std::vector<NamedTensor>& tensors) {
  std::vector<std::string> out;
  for (const NamedTensor& t : tensors) out.push_back(t.name);
  return out;
}

MemorySource source_of(const Module& module, const std::string& leave_out = "") {
  MemorySource source("weights.safetensors");
  for (const NamedTensor& t : stored_state(module))
    if (t.name != leave_out) source.add(t.name, t.tensor);
  return source;
}

std::vector<Tensor> copies(const Module& module) {
  std::vector<Tensor> out;
  for (const NamedTensor& p : module.parameters()) out.push_back(p.tensor.clone());
  return out;
}

TEST(Module, NamesArePathsInDeclarationOrder) {
  const Tree tree;
  const std::vector<std::string> expected{"scale",      "conv.weight", "conv.bias", "hidden.w",
                                          "leaves.0.w", "leaves.1.w",  "fc.weight"};
  EXPECT_EQ(names(tree.parameters()), expected);
  EXPECT_EQ(names(tree.buffers()), std::vector<std::string>{"index"});
  EXPECT_EQ(names(tree.conv.parameters()), (std::vector<std::string>{"weight", "bias"})) << "relative to the module asked";
  EXPECT_EQ(tree.leaves[1].path(), "leaves.1");
  EXPECT_EQ(tree.hidden.path(), "hidden") << "a nameless level adds nothing";
  EXPECT_EQ(tree.path(), "");
}

TEST(Module, ListsNumberTheirMembers) {
  const Tree tree;
  ASSERT_EQ(tree.leaves.size(), 2u);
  EXPECT_EQ(tree.leaves[0].w.shape(), (Shape{4}));
  EXPECT_EQ(tree.leaves[1].w.shape(), (Shape{6}));
  int64_t numbers = 0;
  for (const auto& leaf : tree.leaves) numbers += leaf->w.numel();
  EXPECT_EQ(numbers, 10);
}

TEST(Module, CountsTheNumbersOfItsParameters) {
  const Tree tree;
  EXPECT_EQ(tree.parameter_count(), 3 + 3 * 3 * 3 * 2 + 3 + 5 + 4 + 6 + 3 * 2) << "buffers do not count";
  EXPECT_EQ(tree.fc.parameter_count(), 6);
}

TEST(Module, ParametersAreLeavesOfTheTape) {
  const Tree tree;
  for (const NamedTensor& p : tree.parameters()) EXPECT_TRUE(requires_grad(p.tensor)) << p.name;
}

TEST(Module, TrainingModeReachesEveryModule) {
  Tree tree;
  EXPECT_FALSE(tree.training());
  tree.set_training(true);
  for (const Module* m :
       {(Module*)&tree, (Module*)&tree.conv, (Module*)&tree.hidden, (Module*)&tree.leaves[1], (Module*)&tree.fc})
    EXPECT_TRUE(m->training()) << m->path();
  tree.set_training(false);
  EXPECT_FALSE(tree.leaves[0].training());
}

TEST(Module, ErrorsSayWhereTheyPassed) {
  const Module root(nullptr, "");
  Module group(const_cast<Module*>(&root), "group");
  const Conv2d conv(&group, "0", {.in = 2, .out = 3});
  EXPECT_HAS(input_error([&] { conv(Tensor::zeros({1, 4, 4, 5})); }), "\n  in group.0");
  const Linear linear(nullptr, "", {.in = 2, .out = 3});
  EXPECT_HAS(input_error([&] { linear(Tensor::zeros({4, 5})); }), "\n  in the network");
  const LayerNorm norm(&group, "norm", 4);
  EXPECT_HAS(input_error([&] { norm(Tensor::zeros({4, 5})); }), "\n  in group.norm");
}

TEST(Stored, ConvolutionsLieOnDiskAsPublished) {
  const Tensor w = uniform({3, 2, 5, 4}, 1);  // [O, kh, kw, I]
  EXPECT_EQ(stored_shape(w.shape(), StoredAs::conv), (Shape{3, 4, 2, 5}));
  const Tensor s = to_stored(w, StoredAs::conv);
  ASSERT_EQ(s.shape(), (Shape{3, 4, 2, 5}));
  for (int o = 0; o < 3; ++o)
    for (int i = 0; i < 4; ++i)
      for (int y = 0; y < 2; ++y)
        for (int x = 0; x < 5; ++x)
          EXPECT_EQ(s.data<float>()[((o * 4 + i) * 2 + y) * 5 + x], w.data<float>()[((o * 2 + y) * 5 + x) * 4 + i]);
  EXPECT_TRUE(same_bits(to_stored(w, StoredAs::same), w));
}

TEST(Stored, TheLastAxisMayStandFirst) {
  const Tensor w = uniform({3, 2, 5, 4}, 1), table = uniform({3, 5, 2}, 2);
  EXPECT_EQ(stored_shape(w.shape(), StoredAs::last_first), (Shape{4, 3, 2, 5}));
  const Tensor s = to_stored(w, StoredAs::last_first), t = to_stored(table, StoredAs::last_first);
  ASSERT_EQ(s.shape(), (Shape{4, 3, 2, 5}));
  ASSERT_EQ(t.shape(), (Shape{2, 3, 5}));
  for (int i = 0; i < 4; ++i)
    for (int rest = 0; rest < 30; ++rest) EXPECT_EQ(s.data<float>()[i * 30 + rest], w.data<float>()[rest * 4 + i]);
  for (int i = 0; i < 2; ++i)
    for (int rest = 0; rest < 15; ++rest) EXPECT_EQ(t.data<float>()[i * 15 + rest], table.data<float>()[rest * 2 + i]);
  EXPECT_TRUE(same_bits(from_stored(s, w.shape(), StoredAs::last_first), w));
  EXPECT_TRUE(same_bits(from_stored(t, table.shape(), StoredAs::last_first), table));
}

TEST(Stored, StateListsParametersThenBuffersInPublishedShapes) {
  const Tree tree;
  const std::vector<NamedTensor> state = stored_state(tree);
  ASSERT_EQ(state.size(), 8u);
  EXPECT_EQ(state[1].tensor.shape(), (Shape{3, 2, 3, 3}));
  EXPECT_EQ(state[7].name, "index");
  EXPECT_EQ(state[7].tensor.dtype(), DType::i64);
}

TEST(LoadStrict, RestoresWhatWasStored) {
  const Tree tree, other;
  for (const NamedTensor& p : other.parameters()) init_constant(p.tensor, 0);
  const uint64_t version = other.conv.weight.storage()->version();
  load_strict(other, source_of(tree));
  const std::vector<Tensor> a = copies(tree), b = copies(other);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << i;
  EXPECT_GT(other.conv.weight.storage()->version(), version) << "packed copies of the old weight must not be used";
}

TEST(LoadStrict, WidensHalfFloats) {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f64}) {
    const Linear linear(nullptr, "", {.in = 3, .out = 2});
    const Tensor w = uniform({2, 3}, 1).to(dtype), b = uniform({2}, 2).to(dtype);
    load_strict(linear, MemorySource{{"weight", w}, {"bias", b}});
    EXPECT_EQ(linear.weight.dtype(), DType::f32);
    EXPECT_TRUE(same_bits(linear.weight, w.to(DType::f32))) << dtype;
    EXPECT_TRUE(same_bits(linear.bias, b.to(DType::f32))) << dtype;
  }
}

TEST(LoadStrict, BuffersAreCheckedButNeitherReadNorMissed) {
  const Tree tree;
  load_strict(tree, source_of(tree, "index"));
  MemorySource source = source_of(tree, "index");
  source.add("index", Tensor::of<int64_t>({3}, {1, 2, 3}));
  EXPECT_HAS(input_error([&] { load_strict(tree, source); }), "shape of index: [3], expected [2]");
  MemorySource with_index = source_of(tree, "index");
  with_index.add("index", Tensor::of<int64_t>({2}, {1, 2}));
  load_strict(tree, with_index);
  EXPECT_EQ(tree.buffers()[0].tensor.data<int64_t>()[0], 7) << "follows from the configuration";
}

TEST(LoadStrict, ListsEveryProblemOnceAndChangesNothing) {
  const Tree tree;
  MemorySource source("weights.safetensors");
  source.add("scale", uniform({3}, 50));                           // would fit
  source.add("conv.weight", uniform({3, 3, 3, 2}, 51));            // as in memory: wrong on disk
  source.add("conv.bias", Tensor::of<int64_t>({3}, {1, 2, 3}));    // not a float
  source.add("hidden.w", Tensor::of<int64_t>({4}, {1, 2, 3, 4}));  // neither a float nor of this shape
  source.add("leaves.0.w", uniform({4}, 52));
  source.add("leaves.2.w", uniform({6}, 53));  // leaves.1.w is missing, this one unknown
  source.add("fc.bias", uniform({2}, 54));
  const std::vector<Tensor> before = copies(tree);
  const std::string message = input_error([&] { load_strict(tree, source); });
  EXPECT_EQ(message.find("weights.safetensors: "), 0u) << message;
  for (const char* line :
       {"\n  shape of conv.weight: [3, 3, 3, 2], expected [3, 2, 3, 3]", "\n  type of conv.bias: i64, expected a float",
        "\n  shape of hidden.w: [4], expected [5]", "\n  missing: leaves.1.w [6]", "\n  missing: fc.weight [2, 3]",
        "\n  unexpected: leaves.2.w [6]", "\n  unexpected: fc.bias [2]"})
    EXPECT_EQ(occurrences(message, line), 1) << line << " in " << message;
  EXPECT_EQ(occurrences(message, "\n"), 7) << "each name once: " << message;
  const std::vector<Tensor> after = copies(tree);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(same_bits(before[i], after[i])) << i;
}

// Counts what is read of another source.
class CountedSource : public TensorSource {
 public:
  explicit CountedSource(MemorySource source) : source_(std::move(source)) {}
  const std::vector<TensorInfo>& tensors() const override { return source_.tensors(); }
  const TensorInfo* find(const std::string& name) const override { return source_.find(name); }
  Tensor read(const std::string& name) const override {
    ++reads;
    return source_.read(name);
  }
  std::string where() const override { return source_.where(); }
  mutable int reads = 0;

 private:
  MemorySource source_;
};

TEST(LoadLazily, ParametersAreReadWhenTheyAreAskedFor) {
  const Tree from, to;
  const auto source = std::make_shared<CountedSource>(source_of(from));
  load_lazily(to, source);
  EXPECT_EQ(source->reads, 0);
  const NoGrad no_grad;
  const Tensor x = uniform({5, 3}, 1);
  EXPECT_TRUE(same_bits(to.fc(x), from.fc(x)));
  EXPECT_EQ(source->reads, 1);
  to.fc(x);
  EXPECT_EQ(source->reads, 1) << "it is held as it is stored";
  const std::vector<NamedTensor> a = from.parameters(), b = to.parameters();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i].tensor.detach(), b[i].tensor.detach())) << a[i].name;
}

// Products of every kind, with sizes that fill blocks and panels or not.
struct Products : Module {
  explicit Products(int64_t in, int64_t out)
      : Module(nullptr, ""),
        fc(this, "fc", {in, out}),
        pointwise(this, "pointwise", {.in = in, .out = out, .kernel = 1}),
        halving(this, "halving", {.in = in, .out = out, .stride = 2}),
        filtered(this, "filtered", {.in = in, .out = out}),
        doubling(this, "doubling", {.in = in, .out = out, .enlarge = 2}) {}
  std::vector<Tensor> of(const Tensor& map) const {
    return {fc(map, {.act = gelu_activation}), pointwise(map, silu_activation), halving(map), filtered(map, {}, pointwise(map)),
            doubling(map)};
  }
  Linear fc;
  Conv2d pointwise, halving, filtered, doubling;
};

TEST(LoadLazily, KernelsUseWeightsAsTheyAreStored) {
  const NoGrad no_grad;
  for (const auto& channels : {std::pair<int64_t, int64_t>{5, 3}, {16, 70}, {70, 131}, {200, 40}})
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      const int64_t in = channels.first, out = channels.second;
      Products strict(in, out), lazy(in, out);
      const auto source = std::make_shared<MemorySource>();
      uint64_t seed = 1;
      for (const NamedTensor& p : strict.parameters())
        source->add(p.name, to_stored(uniform(p.tensor.shape(), seed++), p.stored_as).to(dtype));
      load_strict(strict, *source), load_lazily(lazy, source);
      for (const Shape& shape : {Shape{1, 3, 5, in}, Shape{2, 33, 38, in}}) {
        const Tensor map = uniform(shape, 9);
        const std::vector<Tensor> expected = strict.of(map), streamed = lazy.of(map);
        for (size_t i = 0; i < expected.size(); ++i)
          EXPECT_TRUE(same_bits(streamed[i], expected[i]))
              << in << " to " << out << ", " << dtype << ", " << shape << ", " << i;
      }
      EXPECT_EQ(lazy.fc(Tensor::zeros({0, in})).shape(), Shape({0, out}));
      expect_same_on_any_threads([&] {
        const NoGrad no_grad_here;
        return lazy.of(uniform({1, 9, 9, in}, 9))[3];
      });
    }
}

// Restoration guidance asks for a gradient through weights that stay as they are.
TEST(LoadLazily, GradientsTowardsTheInputAreThere) {
  Products strict(20, 20), lazy(20, 20);
  for (const NamedTensor& p : strict.parameters()) init_uniform(p.tensor, 0.3, 1, p.name);
  load_lazily(lazy, std::make_shared<MemorySource>(source_of(strict)));
  strict.set_trainable(false), lazy.set_trainable(false);
  const auto gradient = [](const Products& products) {
    const Tensor x = require_grad(uniform({1, 34, 36, 20}, 3));
    backward(sum(products.fc(products.filtered(x), {})));
    return grad(x);
  };
  EXPECT_TRUE(same_bits(gradient(lazy), gradient(strict)));
}

TEST(LoadLazily, WhatDoesNotFitIsSaidAtOnce) {
  const Tree tree;
  const auto source = std::make_shared<MemorySource>(source_of(tree, "hidden.w"));
  EXPECT_HAS(input_error([&] { load_lazily(tree, source); }), "missing: hidden.w [5]");
}

}  // namespace
}  // namespace relume::test
