// Batches on their way to a CUDA device.
#include "tensor/core/uploads.h"

#include <gtest/gtest.h>

#include "tensor/cuda/context.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/memory.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class CudaUploads : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
  std::unique_ptr<Uploads> uploads() { return kernels::uploads.on(cuda_device)(cuda_device); }
};

// Batches of growing and shrinking sizes, of several types.
std::vector<Tensor> batch_number(int i) {
  const int64_t size = 1 + (i * 7) % 11;
  return {uniform({size, 3}, uint64_t(i)), Tensor::full({size}, i, DType::u8), Tensor::empty({0, 4})};
}

void expect_batch(const std::vector<Tensor>& found, int number) {
  const std::vector<Tensor> expected = batch_number(number);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].device(), cuda_device);
    EXPECT_TRUE(same_bits(found[i].to(Device{}), expected[i])) << "batch " << number << ", tensor " << i;
  }
}

// As a training does it: the next one is begun, then the device computes with the last. Nobody waits.
TEST_F(CudaUploads, DeliverEveryBatchWithoutAWait) {
  for_each_run([&](const std::string&) {
    const std::unique_ptr<Uploads> way = uploads();
    way->begin(batch_number(0));
    for (int i = 0; i < 8; ++i) {
      const int64_t waits = cuda::host_waits();
      const std::vector<Tensor> batch = way->take();
      way->begin(batch_number(i + 1));
      kernels::axpby.on(cuda_device)(batch[0], 1, batch[0], 0, batch[0]);
      EXPECT_EQ(cuda::host_waits(), waits) << "batch " << i;
      expect_batch(batch, i);
    }
  });
}

// A third copy would overwrite memory that the first is still made from.
TEST_F(CudaUploads, TwoMayBeOnTheirWay) {
  const std::unique_ptr<Uploads> way = uploads();
  way->begin(batch_number(1)), way->begin(batch_number(2));
  EXPECT_THROW(way->begin(batch_number(3)), BugError);
  expect_batch(way->take(), 1);
  way->begin(batch_number(3));
  expect_batch(way->take(), 2);
  expect_batch(way->take(), 3);
  EXPECT_THROW(way->take(), BugError);
}

TEST_F(CudaUploads, BatchesThatNobodyTakesAreLetGo) {
  const int64_t before = allocator(cuda_device).bytes_in_use();
  {
    const std::unique_ptr<Uploads> way = uploads();
    way->begin(batch_number(1)), way->begin(batch_number(2));
  }
  EXPECT_EQ(allocator(cuda_device).bytes_in_use(), before);
}

}  // namespace
}  // namespace relume::test
