// GroupNorm and gated activations on shapes that the small cases do not reach: several strips of channels and chunks of pixels,
// groups across strips and packs, a mean far from zero.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tensor/kernels/elementwise.h"
#include "tests/cuda/runs.h"
#include "tests/support/group_norms.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

Tensor on_host(const Tensor& t) { return t.to(Device{}); }
Tensor on_device(const Tensor& t) { return t.to(cuda_device); }

class CudaGroupNorm : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }

  // Runs it in every way there is: results near the exact ones, and the same bits in all runs.
  static void check(const GroupNormInputs& in, double tolerance, double gradient_tolerance) {
    const GroupNormOutcome exact = in.exact();
    GroupNormOutcome first;
    for_each_run([&](const std::string& run) {
      const GroupNormOutcome found = in.with(on_device).run();
      if (!first.y) first = found;
      for_each_result(found, exact, [&](const std::string& what, const Tensor& a, const Tensor& b) {
        EXPECT_LE(relative_l2(on_host(a), b), what[0] == 'd' ? gradient_tolerance : tolerance)
            << what << " of " << in.x << ", " << run;
      });
      for_each_result(found, first, [&](const std::string& what, const Tensor& a, const Tensor& b) {
        EXPECT_TRUE(same_bits(on_host(a), on_host(b))) << what << " of " << in.x << ", " << run << ": other bits";
      });
    });
  }
};

std::vector<GroupNormInputs> large_cases() {
  return {GroupNormInputs({1, 5, 13, 640}, {.groups = 32, .act = silu_activation}),  // groups of 20, packs of 4 and 8
          GroupNormInputs({2, 5, 3, 300}, {.groups = 10, .act = gelu_activation}),   // no packs in 16 bits
          GroupNormInputs({1, 3, 5, 1200}, {.groups = 2, .act = {}}),                // groups wider than a strip
          GroupNormInputs({1, 33, 32, 16}, {.groups = 2, .act = silu_activation})};  // chunks of unequal length
}

TEST_F(CudaGroupNorm, FloatAgreesWithReference) {
  for (const GroupNormInputs& in : large_cases()) check(in, 1e-6, 2e-6);
}

TEST_F(CudaGroupNorm, SixteenBitsAreComputedInFloat) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.004}, std::pair{DType::f16, 0.0005}})
    for (const GroupNormInputs& in : large_cases())
      check(in.with([type = dtype](const Tensor& t) { return t.to(type); }), tolerance, tolerance);
}

TEST_F(CudaGroupNorm, MeanFarFromZero) {
  // The backward pass gets a mean that is rounded to float: 3e-5 at 1000, where the deviation is 0.6.
  check(GroupNormInputs({2, 33, 31, 12}, {.groups = 4, .act = silu_activation}, 999, 1001), 1e-6, 1e-4);
}

TEST_F(CudaGroupNorm, WhatIsNotWantedIsUndefined) {
  const GroupNormInputs host({2, 3, 5, 6}, {.groups = 2, .act = gelu_activation});
  for_each_run([&](const std::string& run) {
    const GroupNormInputs in = host.with(on_device);
    const GroupNormOutcome all = in.run();
    const Tensor y = empty_like(in.x), dx = empty_like(in.x), dweight = empty_like(in.weight);
    kernels::group_norm_forward.on(cuda_device)(y, {}, in.x, in.weight, in.bias, in.options);
    kernels::group_norm_backward.on(cuda_device)(dx, {}, {}, in.dy, in.x, all.stats, in.weight, in.bias, in.options);
    kernels::group_norm_backward.on(cuda_device)({}, dweight, {}, in.dy, in.x, all.stats, in.weight, in.bias, in.options);
    EXPECT_TRUE(same_bits(on_host(y), on_host(all.y))) << run;
    EXPECT_TRUE(same_bits(on_host(dx), on_host(all.dx))) << run;
    EXPECT_TRUE(same_bits(on_host(dweight), on_host(all.dweight))) << run;
    const Tensor stats = empty_like(all.stats);
    kernels::group_norm_forward.on(cuda_device)({}, stats, in.x, {}, {}, in.options);
    EXPECT_TRUE(same_bits(on_host(stats), on_host(all.stats))) << run;
  });
}

TEST_F(CudaGroupNorm, ByStatisticsFromElsewhere) {
  for (const auto& [dtype, tolerance] : {std::pair{DType::f32, 1e-6}, std::pair{DType::bf16, 0.004}})
    for (const GroupNormInputs& host : large_cases()) {
      const GroupNormInputs rounded = host.with([type = dtype](const Tensor& t) { return t.to(type); });
      const GroupNormOutcome exact = rounded.exact();
      for_each_run([&, limit = tolerance](const std::string& run) {
        const GroupNormInputs in = rounded.with(on_device);
        const Tensor y = in.x.clone();
        kernels::group_norm_apply.on(cuda_device)(y, y, on_device(exact.stats.to(DType::f32)), in.weight, in.bias, in.options);
        EXPECT_LE(relative_l2(on_host(y), exact.y), limit) << in.x << ", " << run;
      });
    }
}

TEST_F(CudaGroupNorm, GatedActivationsGradientMayTakeThePlaceOfTheInput) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const int64_t channels : {19, 32})
      for_each_run([&](const std::string& run) {
        const Tensor x = on_device(uniform({7, 2 * channels}, 1, -3, 3).to(dtype)), dx = empty_like(x);
        const Tensor dy = on_device(uniform({7, channels}, 2).to(dtype));
        kernels::gated_activation_backward.on(cuda_device)(dx, dy, x, gelu_activation);
        kernels::gated_activation_backward.on(cuda_device)(x, dy, x, gelu_activation);
        EXPECT_TRUE(same_bits(on_host(x), on_host(dx))) << dtype << ", " << channels << " channels, " << run;
      });
}

}  // namespace
}  // namespace relume::test
