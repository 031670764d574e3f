// Gated activations: which half is the gate, and gradients in place.
#include "tensor/kernels/elementwise.h"

#include <gtest/gtest.h>

#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(GatedActivation, FirstHalfIsTheValueSecondTheGate) {
  const Tensor x = Tensor::of<double>({1, 4}, {2, 3, 1, -1}), y = Tensor::empty({1, 2}, DType::f64);
  kernels::gated_activation_forward.on({})(y, x, gelu_activation);
  constexpr double below_one = 0.841344746068542949;  // of the normal distribution
  EXPECT_NEAR(y.data<double>()[0], 2 * below_one, 1e-15);
  EXPECT_NEAR(y.data<double>()[1], -3 * (1 - below_one), 1e-15);
}

TEST(GatedActivation, GradientMayTakeThePlaceOfTheInput) {
  for (const DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const Tensor x = uniform({7, 38}, 1, -3, 3).to(dtype), dy = uniform({7, 19}, 2).to(dtype), dx = empty_like(x);
    kernels::gated_activation_backward.on({})(dx, dy, x, gelu_activation);
    kernels::gated_activation_backward.on({})(x, dy, x, gelu_activation);
    EXPECT_TRUE(same_bits(x, dx)) << dtype;
  }
}

}  // namespace
}  // namespace relume::test
