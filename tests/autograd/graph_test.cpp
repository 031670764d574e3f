#include "autograd/graph.h"

#include <gtest/gtest.h>

#include "autograd/conv.h"
#include "autograd/elementwise.h"
#include "autograd/matmul.h"
#include "autograd/reduce.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(Graph, GradientsOfAReusedTensorAddUp) {
  const Tensor x = require_grad(uniform({5}, 1, -1, 1, DType::f64));
  backward(sum(add(mul(x, x), scale(x, 3))));  // d/dx = 2x + 3
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(grad(x).data<double>()[i], 2 * x.data<double>()[i] + 3, 1e-12);
}

TEST(Graph, LeavesAccumulateOverPassesUntilCleared) {
  const Tensor x = require_grad(Tensor::full({3}, 2));
  backward(sum(x));
  backward(sum(scale(x, 4)));
  EXPECT_EQ(grad(x).data<float>()[1], 5);
  clear_grad(x);
  EXPECT_FALSE(grad(x));
}

// The gradient handed to one input may be the tensor handed to another: neither may be written to.
TEST(Graph, SharedGradientsAreNotOverwritten) {
  const Tensor x = require_grad(Tensor::full({4}, 1)), y = require_grad(Tensor::full({4}, 1));
  const Tensor s = add(x, y);
  backward(sum(add(s, x)));
  EXPECT_EQ(grad(x).data<float>()[0], 2);
  EXPECT_EQ(grad(y).data<float>()[0], 1);
}

TEST(Graph, ALongChainIsPassedAndReleasedWithoutRecursion) {
  const Tensor x = require_grad(Tensor::full({1}, 1));
  {
    Tensor dropped = x;
    for (int i = 0; i < 200000; ++i) dropped = scale(dropped, 1);
  }
  Tensor y = x;
  for (int i = 0; i < 200000; ++i) y = scale(y, 1);
  backward(y);
  EXPECT_EQ(grad(x).item(), 1);
}

TEST(Graph, NothingIsRecordedUnderNoGrad) {
  const Tensor x = require_grad(Tensor::full({2}, 1));
  const NoGrad no_grad;
  const Tensor y = gelu(x);
  EXPECT_FALSE(requires_grad(y));
  EXPECT_EQ(y.storage().use_count(), 1);
}

TEST(Graph, SavedTensorsChangedInPlaceAreAnError) {
  const Tensor x = require_grad(uniform({4, 3}, 1)), w = require_grad(uniform({2, 3}, 2));
  const Tensor loss = sum(linear(x, w, {}));
  w.copy_from(uniform({2, 3}, 3));
  try {
    backward(loss);
    FAIL() << "the changed weight was used";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("changed in place"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("in the gradient of linear"), std::string::npos) << e.what();
  }
}

TEST(Graph, ASecondPassThroughAReleasedGraphIsAnError) {
  const Tensor x = require_grad(Tensor::full({2}, 1));
  const Tensor y = sum(gelu(x));
  backward(y);
  EXPECT_THROW(backward(y), InputError);
}

TEST(Graph, SecondOrderGradientsAreRefused) {
  const Tensor x = require_grad(Tensor::full({2}, 1)), dy = require_grad(Tensor::full({2}, 1));
  EXPECT_THROW(backward(gelu(x), dy), InputError);
}

TEST(Graph, WrongCallsAreExplained) {
  const Tensor x = require_grad(Tensor::full({2}, 1));
  EXPECT_THROW(backward(gelu(x)), InputError) << "two elements and no gradient";
  EXPECT_THROW(backward(Tensor::full({1}, 1)), InputError) << "no leaf";
  EXPECT_THROW(grad(gelu(x)), InputError) << "no leaf";
  EXPECT_THROW(require_grad(Tensor::zeros({2}, DType::bf16)), InputError);
}

TEST(Graph, AFrozenConvolutionKeepsNothingOfItsInput) {
  const Tensor leaf = require_grad(uniform({1, 5, 6, 4}, 1)), w = uniform({3, 3, 3, 4}, 2);
  const auto gradient = [&](const Tensor& weight) {
    clear_grad(leaf);
    Tensor x = scale(leaf, 2);
    const Tensor y = conv2d(x, weight, {}, kernels::ConvOptions::same(3));
    backward(sum(y));
    return grad(leaf).clone();
  };
  const Tensor frozen = gradient(w);
  EXPECT_TRUE(same_bits(frozen, gradient(require_grad(w.clone()))));
  const auto held = [&](const Tensor& weight) {
    const Tensor y = conv2d(scale(leaf, 2), weight, {}, kernels::ConvOptions::same(3));
    return allocator({}).bytes_in_use();
  };
  EXPECT_GE(held(require_grad(w)) - held(w), leaf.numel() * 4);
}

TEST(Checkpoint, ValuesAndGradientsAreBitIdentical) {
  const Tensor w = require_grad(uniform({7, 7}, 2)), b = require_grad(uniform({7}, 3));
  const auto block = [&](const Tensor& t) { return linear(linear(t, w, b, {.act = gelu_activation}), w, b, {.residual = t}); };
  const auto gradients = [&](bool checkpointed) {
    const Tensor x = require_grad(uniform({3, 5, 7}, 1));
    clear_grad(w), clear_grad(b);
    const Tensor y = checkpointed ? checkpoint(block, checkpoint(block, x)) : block(block(x));
    backward(sum_squared_error(y, uniform({3, 5, 7}, 4)));
    return std::vector<Tensor>{y.detach(), grad(x), grad(w).clone(), grad(b).clone()};
  };
  const auto plain = gradients(false), recomputed = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(same_bits(plain[i], recomputed[i])) << i;
}

// A block of a U-Net: a map and an embedding, which has come from elsewhere and goes to other blocks as well; and nothing.
TEST(Checkpoint, SeveralInputsEqualPlain) {
  const Tensor w = require_grad(uniform({4, 4}, 2));
  const auto block = [&](const std::vector<Tensor>& in) {
    EXPECT_FALSE(in[2]);
    return add_per_sample(linear(in[0], w, {}), in[1]);
  };
  const auto gradients = [&](bool checkpointed) {
    const Tensor x = require_grad(uniform({2, 3, 4}, 1)), e = require_grad(uniform({2, 4}, 3));
    clear_grad(w);
    const Tensor shared = gelu(e);
    const auto run = [&](const Tensor& t) {
      const std::vector<Tensor> inputs{t, shared, {}};
      return checkpointed ? checkpoint(block, inputs) : block(inputs);
    };
    const Tensor y = run(run(x));
    backward(sum_squared_error(y, uniform({2, 3, 4}, 4)));
    return std::vector<Tensor>{y.detach(), grad(x), grad(e), grad(w).clone()};
  };
  const auto plain = gradients(false), recomputed = gradients(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(same_bits(plain[i], recomputed[i])) << i;
}

// Networks that compute in 16 bits checkpoint maps of that type.
TEST(Checkpoint, SixteenBitsEqualPlain) {
  const auto gradient = [&](bool checkpointed) {
    const Tensor x = require_grad(uniform({3, 4}, 1)), narrow = cast(x, DType::bf16);
    const Tensor y = checkpointed ? checkpoint(gelu, narrow) : gelu(narrow);
    backward(sum(cast(y, DType::f32)));
    return grad(x);
  };
  EXPECT_TRUE(same_bits(gradient(true), gradient(false)));
}

TEST(Checkpoint, ParametersLearnWhenTheInputNeedsNoGradient) {
  const Tensor w = require_grad(uniform({3, 3}, 2));
  const Tensor y = checkpoint([&](const Tensor& t) { return linear(t, w, {}); }, uniform({2, 3}, 1));
  backward(sum(y));
  EXPECT_TRUE(grad(w));
}

// A frozen leaf is data to all that hold it, and a leaf again when it is set free.
TEST(RequiresGrad, CanBeSwitchedOffAndOn) {
  const Tensor w = require_grad(uniform({3, 3}, 2)), handle = w, x = require_grad(uniform({2, 3}, 1));
  backward(sum(linear(x, w, {})));
  EXPECT_TRUE(grad(w));
  set_requires_grad(w, false);
  EXPECT_FALSE(requires_grad(handle));
  backward(sum(linear(x, handle, {})));
  EXPECT_TRUE(grad(x));
  EXPECT_FALSE(requires_grad(linear(uniform({2, 3}, 1), w, {})));
  set_requires_grad(w, true);
  EXPECT_FALSE(grad(w)) << "what it had is gone";
  backward(sum(linear(x, handle, {})));
  EXPECT_TRUE(grad(w));
  EXPECT_HAS(input_error([&] { set_requires_grad(gelu(w), false); }), "is the result of an operation");
}

}  // namespace
}  // namespace relume::test
