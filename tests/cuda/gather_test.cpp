// Rows by their numbers on a device: ids that are no rows, and widths and repetitions that the cases of all devices do not
// have.
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/kernels/gather.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class CudaGather : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(CudaGather, IdsThatAreNoRowsGiveNaNAndNoGradient) {
  const Tensor table = uniform({3, 8}, 1), ids = Tensor::of<int64_t>({4}, {1, -1, 3, 2}), dy = uniform({4, 8}, 2);
  for_each_run([&](const std::string& run) {
    const Tensor y = Tensor::empty({4, 8}, DType::f32, cuda_device), dtable = Tensor::empty({3, 8}, DType::f32, cuda_device);
    kernels::gather_rows.on(cuda_device)(y, table.to(cuda_device), ids.to(cuda_device));
    kernels::scatter_add_rows.on(cuda_device)(dtable, dy.to(cuda_device), ids.to(cuda_device));
    const Tensor found = y.to(Device{}), gradient = dtable.to(Device{});
    EXPECT_TRUE(same_bits(found.slice(0, 1), table.slice(1, 2)) && same_bits(found.slice(3, 4), table.slice(2, 3))) << run;
    for (int64_t i = 8; i < 24; ++i) EXPECT_TRUE(std::isnan(found.data<float>()[i])) << run << ", " << i;
    EXPECT_TRUE(same_bits(gradient.slice(0, 1), Tensor::zeros({1, 8})) && same_bits(gradient.slice(1, 2), dy.slice(0, 1)) &&
                same_bits(gradient.slice(2, 3), dy.slice(3, 4)))
        << run;
  });
}

// More columns than a block has threads, more places than a warp compares at a time, one id nearly everywhere.
TEST_F(CudaGather, SumsOfManyRepetitions) {
  std::vector<int64_t> numbers(75, 4);
  numbers[0] = 2, numbers[31] = 0, numbers[32] = 2, numbers[74] = 2;
  const Tensor ids = Tensor::of<int64_t>({75}, numbers), dy = uniform({75, 300}, 1), exact = Tensor::empty({5, 300});
  kernels::scatter_add_rows.on({})(exact, dy, ids);
  for_each_run([&](const std::string& run) {
    const Tensor dtable = Tensor::empty({5, 300}, DType::f32, cuda_device);
    kernels::scatter_add_rows.on(cuda_device)(dtable, dy.to(cuda_device), ids.to(cuda_device));
    EXPECT_TRUE(same_bits(dtable.to(Device{}), exact)) << run << ": the same order, in double";
  });
}

}  // namespace
}  // namespace relume::test
