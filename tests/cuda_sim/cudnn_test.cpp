// What convolutions and attention ask of cuDNN, as its fake sees it.
#include <gtest/gtest.h>

#include <string>

#include "tensor/kernels/attention.h"
#include "tensor/kernels/conv.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_cudnn.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

using kernels::ConvOptions;

// Plans that a convolution of x had to have made.
int64_t plans_for(const Tensor& x, const Tensor& bias, const ConvOptions& options = ConvOptions::same(3)) {
  const Tensor w = Tensor::zeros({2, 3, 3, x.shape(3)}, x.dtype(), cuda_device);
  const Tensor y = Tensor::empty(x.shape().with(3, 2), x.dtype(), cuda_device);
  const int64_t before = sim::plans_built();
  kernels::conv2d_forward.on(cuda_device)(y, x, w, bias, options, {});
  return sim::plans_built() - before;
}

TEST(CudnnPlans, AreMadeOnceForWhatIsTheSame) {
  const Tensor x = uniform({1, 13, 11, 4}, 1).to(cuda_device), bias = uniform({4}, 2).to(cuda_device), two = bias.columns(0, 2);
  EXPECT_EQ(plans_for(x, two), 1);
  EXPECT_EQ(plans_for(x.clone(), two), 0) << "other tensors of the same sizes";
  EXPECT_EQ(plans_for(x, bias.columns(1, 3)), 1) << "a bias at another boundary";
  EXPECT_EQ(plans_for(x, {}), 1) << "no bias";
  EXPECT_EQ(plans_for(x.columns(0, 3), two), 1) << "other channels";
  EXPECT_EQ(plans_for(pitched(x), two), 1) << "pitched rows";
  EXPECT_EQ(plans_for(x.to(DType::bf16), two.to(DType::bf16)), 1) << "another type";
  EXPECT_EQ(plans_for(x, two, {1, 2, 1, 0, 1}), 1) << "other padding";
  EXPECT_EQ(plans_for(x, two), 0) << "the first again";
}

TEST(CudnnPlans, TheErrorNamesTheConvolutionThatHasNone) {
  const Tensor x = Tensor::zeros({1000, 1, 1, 1}, DType::f32, cuda_device);
  std::string text;
  try {
    plans_for(x, {});
  } catch (const Error& e) {
    text = e.what();
  }
  EXPECT_HAS(text, "has no engine for this");
  EXPECT_HAS(text, "in conv2d_forward between f32 cuda:0 [1000, 1, 1, 1] and f32 cuda:0 [1000, 1, 1, 2]");
  EXPECT_HAS(text, "weight [2, 3, 3, 1], stride 1, padding 1 1 1 1");
}

TEST(CudnnPlans, DoublesAndMixedTypesAreRefused) {
  const Tensor x = Tensor::zeros({1, 4, 4, 3}, DType::f64, cuda_device), bias = Tensor::zeros({2}, DType::f32, cuda_device);
  EXPECT_HAS(input_error([&] { plans_for(x, {}); }),
             "conv2d_forward: on cuda:0 expects f32, f16 or bf16, got f64 cuda:0 [1, 4, 4, 3]");
  EXPECT_HAS(input_error([&] { plans_for(x.to(DType::bf16), bias); }),
             "conv2d_forward: f32 cuda:0 [2] given with bf16 cuda:0 [1, 4, 4, 3]; expected one type, convert with to()");
}

// Plans that attention between q [N, L, C] and k [N, S, C] had to have made; k stands for the values, too.
int64_t attention_plans_for(const Tensor& q, const Tensor& k, const kernels::AttentionOptions& options,
                            bool denominators = false) {
  const Tensor y = Tensor::empty(q.shape(), q.dtype(), cuda_device);
  const Tensor lse = denominators ? Tensor::empty({q.shape(0), q.shape(1), options.heads}, DType::f32, cuda_device) : Tensor();
  const int64_t before = sim::plans_built();
  kernels::attention_forward.on(cuda_device)(y, lse, q, k, k, options);
  return sim::plans_built() - before;
}

TEST(CudnnPlans, AttentionHasThemForRowsThatFitAlone) {
  const Tensor q = uniform({1, 5, 64}, 1).to(DType::bf16).to(cuda_device),
               k = uniform({1, 3, 64}, 2).to(DType::bf16).to(cuda_device);
  EXPECT_EQ(attention_plans_for(q, k, {.heads = 2}), 1);
  EXPECT_EQ(attention_plans_for(q.clone(), k, {.heads = 2, .scale = 3}), 0) << "other tensors and another scale";
  EXPECT_EQ(attention_plans_for(q, k, {.heads = 2}, true), 1) << "with denominators";
  EXPECT_EQ(attention_plans_for(q, k, {.heads = 4}), 1) << "other heads";
  EXPECT_EQ(attention_plans_for(q, q, {.heads = 2}), 1) << "other keys";
  EXPECT_EQ(attention_plans_for(q, q, {.heads = 2, .causal = true}), 0) << "causal";
  EXPECT_EQ(attention_plans_for(q, k, {.heads = 16}), 0) << "heads of four channels";
  EXPECT_EQ(attention_plans_for(pitched(q), k, {.heads = 2}), 0) << "rows between the boundaries of 16 bytes";
  EXPECT_EQ(attention_plans_for(q.to(DType::f32), k.to(DType::f32), {.heads = 2}), 0) << "floats";
}

TEST(CudnnPlans, TheErrorNamesTheAttentionThatHasNone) {
  const Tensor q = Tensor::zeros({1000, 1, 8}, DType::f16, cuda_device);
  std::string text;
  try {
    attention_plans_for(q, q, {});
  } catch (const Error& e) {
    text = e.what();
  }
  EXPECT_HAS(text, "has no engine for this");
  EXPECT_HAS(text, "in attention_forward of queries f16 cuda:0 [1000, 1, 8] and keys f16 cuda:0 [1000, 1, 8], 1 heads");
}

}  // namespace
}  // namespace relume::test
