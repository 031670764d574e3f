// Which GPUs can be used, on machines that the simulator pretends to be; and tensors on several.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tensor/core/tensor.h"
#include "tensor/cuda/register.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/support/errors.h"

namespace relume::test {
namespace {

class CudaDevices : public testing::Test {
 protected:
  CudaDevices() { unsetenv("CUDA_VISIBLE_DEVICES"); }
  ~CudaDevices() override { sim::seen_machine() = {}; }
  static std::string why_none(cudaError_t driver, std::vector<std::pair<int, int>> gpus = {}) {
    sim::seen_machine() = {.gpus = std::move(gpus), .driver = driver};
    const Gpus all = cuda_gpus();
    EXPECT_TRUE(all.found.empty());
    return all.obstacle.reason + "; " + all.obstacle.remedy;
  }
};

TEST_F(CudaDevices, AreNamedWithWhatKeepsThemFromBeingUsed) {
  sim::seen_machine().gpus = {{9, 0}, {8, 0}, {7, 5}, {10, 3}};
  const Gpus all = cuda_gpus();
  EXPECT_FALSE(all.obstacle);
  ASSERT_EQ(all.found.size(), 4u);
  EXPECT_EQ(all.found[0].name, "simulated GPU");
  EXPECT_EQ(all.found[0].memory, int64_t(16) << 30);
  for (const size_t usable : {0, 1, 3}) EXPECT_FALSE(all.found[usable].obstacle) << all.found[usable].obstacle.reason;
  EXPECT_EQ(all.found[2].obstacle.reason, "simulated GPU has compute capability 7.5, and this build is for 8.0 and later");
  EXPECT_EQ(all.found[2].obstacle.remedy, "use a GPU of compute capability 8.0 or later");
}

TEST_F(CudaDevices, AreMissingForAReason) {
  EXPECT_HAS(why_none(cudaErrorInsufficientDriver), "the NVIDIA driver is missing, or too old for CUDA 13.");
  EXPECT_HAS(why_none(cudaErrorNoDevice), "the NVIDIA driver shows no GPU; see whether nvidia-smi does");
  EXPECT_HAS(why_none(cudaErrorSystemNotReady, {{9, 0}}), "CUDA cannot be started (cudaError: an error of the simulator)");
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_HAS(why_none(cudaErrorNoDevice), "shows no GPU under CUDA_VISIBLE_DEVICES=''; unset that variable");
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST_F(CudaDevices, EachHasMemoryOfItsOwn) {
  sim::seen_machine().gpus = {{9, 0}, {9, 0}};
  const Device first{DeviceKind::cuda, 0}, second{DeviceKind::cuda, 1};
  const int64_t before = allocator(first).bytes_in_use(), before_there = allocator(second).bytes_in_use();
  const Tensor t = Tensor::full({8}, 2, DType::f32, second);
  EXPECT_EQ(allocator(second).bytes_in_use(), before_there + 32);
  EXPECT_EQ(allocator(first).bytes_in_use(), before);
  EXPECT_EQ(t.to(Device{}).data<float>()[7], 2);
  EXPECT_HAS(input_error([&] {
               Tensor::empty({8}, DType::f32, {DeviceKind::cuda, most_devices});
             }),
             "the index is not below 64");
}

}  // namespace
}  // namespace relume::test
