#include "layers/precision.h"

#include <gtest/gtest.h>

#include <thread>

#include "autograd/reduce.h"
#include "layers/conv2d.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(Precision, TheProcessorComputesInFloat) {
  const auto type = [](const char* text, Device device) { return precision_of("--precision", text, device).type; };
  EXPECT_EQ(type("f32", {}), DType::f32);
  EXPECT_EQ(type("bf16", {DeviceKind::cuda, 0}), DType::bf16);
  EXPECT_EQ(type("f16", {DeviceKind::cuda, 0}), DType::f16);
  EXPECT_HAS(input_error([] { precision_of("train.precision", "bf16", {}); }), "train.precision bf16 is for GPUs");
  EXPECT_HAS(input_error([] { precision_of("train.precision", "tf32", {}); }), "train.precision tf32 is for GPUs");
  EXPECT_HAS(input_error([] { precision_of("--precision", "f8", {}); }), "expected f32, tf32, bf16 or f16");
}

TEST(Precision, OfProductsHoldsForAThreadAsLongAsItsScope) {
  const Precision rounded = precision_of("--precision", "tf32", {DeviceKind::cuda, 0});
  EXPECT_EQ(rounded.type, DType::f32);
  EXPECT_EQ(rounded.products, FloatProducts::tf32);
  EXPECT_EQ(precision_of("--precision", "bf16", {DeviceKind::cuda, 0}).products, FloatProducts::full);
  {
    const FloatProductsScope scope(rounded.products);
    EXPECT_EQ(float_products(), FloatProducts::tf32);
    std::thread([] { EXPECT_EQ(float_products(), FloatProducts::full); }).join();
    const FloatProductsScope inner(FloatProducts::full);
    EXPECT_EQ(float_products(), FloatProducts::full);
  }
  EXPECT_EQ(float_products(), FloatProducts::full);
}

// Parameters are met in the data's type; their gradients come back in f32.
TEST(Precision, LayersWorkInTheTypeOfTheirData) {
  struct Net : Module {
    Net() : Module(nullptr, ""), conv(this, "conv", {.in = 3, .out = 8}), norm(this, "norm", 8), fc(this, "fc", {8, 4}) {
      uint64_t seed = 1;
      for (const NamedTensor& p : parameters()) p.tensor.copy_from(uniform(p.tensor.shape(), seed++));
    }
    Conv2d conv;
    LayerNorm norm;
    Linear fc;
  } net;
  const auto gradients = [&](DType type) {
    for (const NamedTensor& p : net.parameters()) clear_grad(p.tensor);
    const Tensor y = net.fc(net.norm(net.conv(uniform({1, 6, 5, 3}, 9).to(type))));
    EXPECT_EQ(y.dtype(), type);
    backward(cast(y, DType::f32), uniform(y.shape(), 10));
    std::vector<Tensor> all;
    for (const NamedTensor& p : net.parameters()) all.push_back(grad(p.tensor));
    return all;
  };
  const std::vector<Tensor> exact = gradients(DType::f32), found = gradients(DType::bf16);
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(found[i].dtype(), DType::f32);
    const double error = relative_l2(found[i], exact[i]);
    EXPECT_GT(error, 0) << i;
    EXPECT_LE(error, 0.03) << i;
  }
}

TEST(Precision, CastsKeepTheirNumbers) {
  const Tensor x = uniform({3, 5}, 1);
  EXPECT_TRUE(cast(x, DType::f32).same_storage(x));
  EXPECT_EQ(relative_l2(cast(cast(x, DType::f64), DType::f32), x), 0);
  EXPECT_HAS(input_error([&] { cast(x, DType::i32); }), "expected float types");
}

}  // namespace
}  // namespace relume::test
