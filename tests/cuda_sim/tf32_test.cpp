// Products and convolutions of floats: in full, and rounded to TF32 where the thread asks for it.
#include "tests/cuda_sim/tf32.h"

#include <gtest/gtest.h>

#include "tensor/core/float_products.h"
#include "tensor/cuda/cublaslt.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/matmul.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_cudnn.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using kernels::ConvOptions;

Tensor rounded(const Tensor& x) {
  const Tensor y = x.clone();
  for (int64_t i = 0; i < y.numel(); ++i) y.data<float>()[i] = sim::to_tf32(y.data<float>()[i]);
  return y;
}

// f(a, b) of two tensors, on the device as its setting has it: the CPU's result, before, behind and in a scope of TF32 that of
// rounded tensors.
template <class F> void expect_rounded_in_scope_alone(const Tensor& a, const Tensor& b, F&& f) {
  const Tensor full = f(a, b), inexact = f(rounded(a), rounded(b));
  const auto on_device = [&] { return f(a.to(cuda_device), b.to(cuda_device)).to(Device{}); };
  EXPECT_GT(relative_l2(inexact, full), 1e-5);
  EXPECT_LE(relative_l2(on_device(), full), 1e-6);
  {
    const FloatProductsScope scope(FloatProducts::tf32);
    EXPECT_LE(relative_l2(on_device(), inexact), 1e-6);
  }
  EXPECT_LE(relative_l2(on_device(), full), 1e-6);
}

TEST(Tf32, RoundsTheFactorsOfProducts) {
  expect_rounded_in_scope_alone(uniform({41, 24}, 1), uniform({19, 24}, 2), [](const Tensor& x, const Tensor& w) {
    const Tensor y = Tensor::empty({x.shape(0), w.shape(0)}, x.dtype(), x.device());
    kernels::linear_forward.on(x.device())(y, x, w, {}, {}, {});
    return y;
  });
}

TEST(Tf32, RoundsTheFactorsOfConvolutions) {
  const Tensor x = uniform({1, 7, 6, 5}, 3), y = uniform({1, 7, 6, 4}, 4), w = uniform({4, 3, 3, 5}, 5);
  const ConvOptions options = ConvOptions::same(3);
  expect_rounded_in_scope_alone(x, w, [&](const Tensor& a, const Tensor& b) {
    const Tensor out = Tensor::empty(y.shape(), DType::f32, a.device());
    kernels::conv2d_forward.on(a.device())(out, a, b, {}, options, {});
    return out;
  });
  expect_rounded_in_scope_alone(y, w, [&](const Tensor& a, const Tensor& b) {
    const Tensor out = Tensor::empty(x.shape(), DType::f32, a.device());
    kernels::conv2d_backward_data.on(a.device())(out, a, b, options);
    return out;
  });
  expect_rounded_in_scope_alone(y, x, [&](const Tensor& a, const Tensor& b) {
    const Tensor out = Tensor::empty(w.shape(), DType::f32, a.device());
    kernels::conv2d_backward_weight.on(a.device())(out, {}, a, b, options);
    return out;
  });
}

TEST(Tf32, ChangesNothingForSixteenBits) {
  const auto numbers = [](const Shape& shape) { return uniform(shape, 6).to(DType::bf16).to(cuda_device); };
  const Tensor x = numbers({1, 5, 9, 8}), w = numbers({8, 1, 1, 8}), y = Tensor::empty(x.shape(), DType::bf16, cuda_device);
  const auto compute = [&] {
    kernels::conv2d_forward.on(cuda_device)(y, x, w, {}, ConvOptions::same(1), {});
    kernels::linear_forward.on(cuda_device)(y, x, w.reshape({8, 8}), {}, {}, {});
    return y.to(Device{});
  };
  const Tensor full = compute();
  const int64_t plans = sim::plans_built(), asked = cuda::heuristics_asked();
  const FloatProductsScope scope(FloatProducts::tf32);
  EXPECT_TRUE(same_bits(compute(), full));
  EXPECT_EQ(sim::plans_built(), plans);
  EXPECT_EQ(cuda::heuristics_asked(), asked);
}

}  // namespace
}  // namespace relume::test
