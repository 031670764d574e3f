// GroupNorm and gated activations on shapes that the small cases do not reach: several strips of channels and chunks of pixels,
// groups across strips and packs, a mean far from zero; maps that stay in shared memory, and maps that do not.
#include "tensor/cuda/group_norm_tiling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/cuda/captured_call.h"
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

  // Runs it in every way there is: results near the exact ones, and the same bits in all runs on a card.
  static void check(const GroupNormInputs& in, double tolerance, double gradient_tolerance) {
    const GroupNormOutcome exact = in.exact();
    for_each_card([&](const std::string& card) {
      const testing::ScopedTrace trace(__FILE__, __LINE__, card);
      check_on_card(in, exact, tolerance, gradient_tolerance);
    });
  }

  static void check_on_card(const GroupNormInputs& in, const GroupNormOutcome& exact, double tolerance,
                            double gradient_tolerance) {
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
          GroupNormInputs({1, 33, 32, 16}, {.groups = 2, .act = silu_activation}),   // chunks of unequal length
          GroupNormInputs({2, 20, 15, 80}, {.groups = 4, .act = silu_activation}),   // strips and chunks, in all types
          GroupNormInputs({300, 1, 2, 8}, {.groups = 2, .act = silu_activation})};   // gradients of many chunks, joined first
}

// A map of floats that takes such a share of the shared memory of the whole card.
GroupNormInputs large_for_the_card(double share) {
  constexpr int64_t channels = 32;
  const double bytes = double(cuda::shared_bytes_per_block(cuda_device)) * cuda::multiprocessors(cuda_device);
  const auto pixels = int64_t(share * bytes / double(channels * int64_t(sizeof(float))));
  return GroupNormInputs({1, pixels, channels}, {.groups = 4, .act = silu_activation});
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

TEST_F(CudaGroupNorm, MapsUpToTheSharedMemoryOfTheCardAndBeyond) {
  for (const double share : {0.4, 0.6, 1.1}) {  // with the gradient in it, without, neither
    const GroupNormInputs in = large_for_the_card(share);
    check_on_card(in, in.exact(), 1e-6, 2e-6);
  }
}

TEST_F(CudaGroupNorm, ACapturedCallGivesTheSame) {
  const GroupNormInputs in = large_for_the_card(0.4).with(on_device);
  const GroupNormOutcome expected = in.run();
  const cuda::CapturedCall call(cuda_device, [&] {
    const GroupNormOutcome found = in.run();
    return std::vector{found.y, found.stats, found.dx, found.dweight, found.dbias};
  });
  for (int time = 0; time < 3; ++time) {
    const std::vector<Tensor>& found = call();
    for_each_result({found[0], found[1], found[2], found[3], found[4]}, expected,
                    [&](const char* what, const Tensor& a, const Tensor& b) {
                      EXPECT_TRUE(same_bits(on_host(a), on_host(b))) << what << ", replay " << time;
                    });
  }
}

// An H200's blocks of 256 threads: four of a multiprocessor run at once, as their registers let them.
std::optional<cuda::GroupNormTiling> kept_by_h200(const cuda::GroupedMap& map, int pack, int channel_bytes, size_t maps,
                                                  int multiprocessors = 132) {
  const auto blocks_at_once = [=](size_t bytes) {
    return multiprocessors * int(std::min<size_t>(4, (228 << 10) / (bytes + 1024)));
  };
  return cuda::kept_tiling(map, pack, channel_bytes, 17 << 10, maps * size_t(pack * channel_bytes), multiprocessors,
                           blocks_at_once);
}

TEST(GroupNormTiling, ShapeTypeAndCardDecideWhichMapsStay) {
  const cuda::GroupedMap one{1, 4096, 320, 32}, eight{8, 4096, 320, 32}, decoder{1, 65536, 256, 32};
  EXPECT_TRUE(kept_by_h200(one, 8, 2, 2)) << "of the U-Net: 2.6 MB in 16 bits";
  EXPECT_TRUE(kept_by_h200(one, 4, 4, 2));
  EXPECT_TRUE(kept_by_h200(eight, 8, 2, 1)) << "21 MB of 30";
  EXPECT_FALSE(kept_by_h200(eight, 8, 2, 2)) << "42 MB";
  EXPECT_FALSE(kept_by_h200(eight, 4, 4, 1));
  EXPECT_FALSE(kept_by_h200(decoder, 8, 2, 1)) << "34 MB";
  EXPECT_FALSE(kept_by_h200(eight, 8, 2, 1, 66)) << "half the card";
  EXPECT_FALSE(kept_by_h200({600, 16, 64, 32}, 8, 2, 1)) << "more samples than blocks at once";
  EXPECT_FALSE(cuda::kept_tiling(one, 8, 2, 0, 16, 132, [](size_t) { return 0; })) << "no grid can be launched as a whole";
}

TEST(GroupNormTiling, BlocksThatStayCoverTheMapAndRunAtOnce) {
  const auto tiling = kept_by_h200({8, 4096, 320, 32}, 8, 2, 1);
  ASSERT_TRUE(tiling);
  EXPECT_EQ(tiling->strip_channels, 64) << "a line of the cache";
  EXPECT_EQ(tiling->strips, 5);
  EXPECT_EQ(tiling->chunks, 6) << "two blocks for each multiprocessor: 264 / (8 samples x 5 strips)";
  EXPECT_EQ(tiling->pixels_each, 683);
  EXPECT_EQ(tiling->packs_each(), 22 * 256) << "rows of 32 pixels, the last one not full";
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
