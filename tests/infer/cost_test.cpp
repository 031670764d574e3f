#include "infer/cost.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/machine.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

// A network that takes exactly three maps beside its input, 5000 bytes more, and a microsecond a pixel.
Cleaner of_known_cost() {
  return {.network =
              [](const Tensor& x) {
                const Tensor fixed = Tensor::empty({5000}, DType::u8), a = x.clone(), b = x.clone();
                std::this_thread::sleep_for(std::chrono::nanoseconds(1000 * x.shape(1) * x.shape(2)));
                return x.clone();
              },
          .multiple = 32};
}

TEST(Cost, OfAKnownNetworkIsFound) {
  const Tensor weights = Tensor::empty({1000});
  const NetworkCost cost = measure_cost(of_known_cost(), 128);
  EXPECT_NEAR(cost.bytes_per_pixel, 4 * 12, 1);
  EXPECT_NEAR(cost.bytes(300 * 300), 4.0 * 12 * 300 * 300 + 5000, 0.03 * 4 * 12 * 300 * 300);
  EXPECT_GT(cost.seconds_per_pixel, 1e-6);
  EXPECT_LT(cost.seconds_per_pixel, 2e-5);
  EXPECT_GT(cost.write_seconds_per_pixel, 0);
  EXPECT_GE(cost.weight_bytes, 4000);
  EXPECT_GT(cost.process_bytes, 1 << 20);
}

// In a small picture the scratch of two threads may outweigh the maps, and one thread may have finished before the other began.
TEST(Cost, ScratchThatComesAndGoesLeavesTheSlope) {
  Cleaner cleaner = of_known_cost();
  cleaner.network = [f = cleaner.network](const Tensor& x) {
    const Storage scratch({}, x.shape(1) <= 64 ? 2'000'000 : 1'000'000, MemoryUse::scratch);
    return f(x);
  };
  const NetworkCost cost = measure_cost(cleaner, 64);
  EXPECT_NEAR(cost.bytes_per_pixel, 4 * 12, 1);
  EXPECT_NEAR(cost.bytes(1000 * 1000), 4.0 * 12 * 1000 * 1000 + 1'000'000, 0.03 * 4 * 12 * 1000 * 1000);
}

// The estimate for a size that was not measured against what the allocator counts there.
TEST(Cost, OfASmallSwinIRHoldsForALargerPicture) {
  const SwinIR network(small_network());
  network.initialise(1);
  const Cleaner cleaner = cleaner_of(network);
  const NoGrad no_grad;
  for (const int64_t measured : {32, 64, 128}) {
    const NetworkCost cost = measure_cost(cleaner, measured);
    for (const int64_t side : {400, 640}) {
      allocator({}).reset_peak();
      const int64_t before = allocator({}).bytes_in_use();
      cleaner.network(Tensor::full({1, side, side, 3}, 0.5));
      const double peak = double(allocator({}).peak_bytes() - before);
      EXPECT_NEAR(cost.bytes(double(side * side)) / peak, 1, 0.05) << side << " by " << measured;
    }
  }
}

TEST(Cost, OfANetworkOfOneSizeIsMeasuredThere) {
  Cleaner only = of_known_cost();
  only.only_side = 64;
  only.network = [f = only.network](const Tensor& x) {
    EXPECT_EQ(x.shape(), (Shape{1, 64, 64, 3}));
    return f(x);
  };
  EXPECT_NEAR(measure_cost(only, 128).bytes(64 * 64), 4 * 12 * 64 * 64 + 5000, 4096);
}

}  // namespace
}  // namespace relume::test
