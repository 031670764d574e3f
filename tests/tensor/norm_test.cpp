// GroupNorm where small cases do not reach: a mean far from zero, maps in many blocks, any number of threads.
#include "tensor/kernels/norm.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/group_norms.h"
#include "tests/support/numbers.h"
#include "tests/support/threads.h"

namespace relume::test {
namespace {

// The samples of the first map stay in the cache together, one of the second is too large for it.
std::vector<GroupNormInputs> many_blocks() {
  return {GroupNormInputs({3, 40, 41, 20}, {.groups = 4, .act = silu_activation}),
          GroupNormInputs({2, 128, 129, 64}, {.groups = 32, .act = silu_activation})};
}

TEST(GroupNorm, ManyBlocksAgreeWithReference) {
  for (const GroupNormInputs& in : many_blocks())
    for_each_result(in.run(), in.exact(), [&](const char* what, const Tensor& found, const Tensor& exact) {
      EXPECT_LE(relative_l2(found, exact), 2e-6) << what << " of " << in.x;
    });
}

// The deviation is 0.58: a variance from the mean of the squares would be lost in float.
TEST(GroupNorm, MeanFarFromZero) {
  const GroupNormInputs in({2, 33, 31, 12}, {.groups = 4, .act = silu_activation}, 999, 1001);
  const GroupNormOutcome found = in.run(), exact = in.exact();
  EXPECT_LE(relative_l2(found.y, exact.y), 1e-6);
  EXPECT_LE(relative_l2(found.stats, exact.stats), 1e-7);
  // The backward pass gets a mean that is rounded to float: 3e-5 at 1000.
  EXPECT_LE(relative_l2(found.dx, exact.dx), 1e-4);
  EXPECT_LE(relative_l2(found.dweight, exact.dweight), 1e-4);
  EXPECT_LE(relative_l2(found.dbias, exact.dbias), 1e-4);
}

// All numbers of a result, one after another.
Tensor joined(const GroupNormOutcome& out) {
  std::vector<Tensor> parts;
  int64_t count = 0;
  for (const Tensor& t : {out.y, out.stats, out.dx, out.dweight, out.dbias}) {
    parts.push_back(t.to(DType::f32).reshape({t.numel()}));
    count += t.numel();
  }
  const Tensor all = Tensor::empty({count});
  int64_t begin = 0;
  for (const Tensor& t : parts) {
    all.slice(begin, begin + t.numel()).copy_from(t);
    begin += t.numel();
  }
  return all;
}

TEST(GroupNorm, AnyNumberOfThreads) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const GroupNormInputs& wide : many_blocks()) {
      const GroupNormInputs in = wide.with([&](const Tensor& t) { return t.to(dtype); });
      expect_same_on_any_threads([&] { return joined(in.run()); });
    }
}

TEST(GroupNorm, WhatIsNotWantedIsUndefined) {
  const GroupNormInputs in({2, 3, 5, 6}, {.groups = 2, .act = gelu_activation});
  const GroupNormOutcome all = in.run();
  const Tensor y = empty_like(in.x), dx = empty_like(in.x), dweight = empty_like(in.weight);
  kernels::group_norm_forward.on({})(y, {}, in.x, in.weight, in.bias, in.options);
  kernels::group_norm_backward.on({})(dx, {}, {}, in.dy, in.x, all.stats, in.weight, in.bias, in.options);
  kernels::group_norm_backward.on({})({}, dweight, {}, in.dy, in.x, all.stats, in.weight, in.bias, in.options);
  EXPECT_TRUE(same_bits(y, all.y) && same_bits(dx, all.dx) && same_bits(dweight, all.dweight));
  const Tensor stats = empty_like(all.stats);
  kernels::group_norm_forward.on({})({}, stats, in.x, {}, {}, in.options);
  EXPECT_TRUE(same_bits(stats, all.stats));
}

TEST(GroupNorm, ByStatisticsFromElsewhere) {
  const GroupNormInputs in = many_blocks().front();
  const GroupNormOutcome all = in.run(), exact = in.exact();
  const Tensor y = in.x.clone();
  kernels::group_norm_apply.on({})(y, y, all.stats, in.weight, in.bias, in.options);
  EXPECT_LE(relative_l2(y, exact.y), 2e-6);
  const GroupNormInputs doubles = in.with([](const Tensor& t) { return t.to(DType::f64); });
  kernels::group_norm_apply.on({})(doubles.x, doubles.x, exact.stats, doubles.weight, doubles.bias, in.options);
  EXPECT_TRUE(same_bits(doubles.x, exact.y));
}

}  // namespace
}  // namespace relume::test
