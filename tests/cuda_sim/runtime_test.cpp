// The simulator's CUDA runtime: streams that were created do their work when somebody waits for it; graphs when they are
// launched.
#include <gtest/gtest.h>

#include <cmath>

#include "tensor/cuda/device.h"
#include "tensor/kernels/memory.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/sim.h"
#include "tests/support/numbers.h"
#include "train/adamw.h"

namespace relume::test {
namespace {

// Page-locked memory with a number, a stream of its own to copy it, and where to.
struct Copying {
  Copying() {
    cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&copied, cudaEventDisableTiming);
    void* memory = nullptr;
    cudaHostAlloc(&memory, sizeof(float), cudaHostAllocDefault);
    pinned = static_cast<float*>(memory);
    *pinned = 5;
  }
  ~Copying() { cudaStreamDestroy(copies), cudaEventDestroy(copied), cudaFreeHost(pinned); }
  void begin() {
    cudaMemcpyAsync(to.raw(), pinned, sizeof(float), cudaMemcpyHostToDevice, copies);
    cudaEventRecord(copied, copies);
  }
  cudaStream_t copies = nullptr;
  cudaEvent_t copied = nullptr;
  float* pinned = nullptr;
  Tensor to = Tensor::full({1}, 3, DType::f32, cuda_device);
};

TEST(SimulatedStreams, ACopyIsThereWhenItsEventWasWaitedFor) {
  Copying c;
  c.begin();
  EXPECT_TRUE(std::isnan(c.to.item())) << "read too early";
  EXPECT_EQ(cudaEventQuery(c.copied), cudaErrorNotReady);
  cudaStreamWaitEvent(cuda::stream(cuda_device), c.copied, 0);
  EXPECT_EQ(cudaEventQuery(c.copied), cudaSuccess);
  EXPECT_EQ(c.to.item(), 5);
}

TEST(SimulatedStreams, PageLockedMemoryIsReadWhenTheCopyComesToIt) {
  Copying c;
  c.begin();
  *c.pinned = 7;  // too early
  EXPECT_EQ(cudaEventSynchronize(c.copied), cudaSuccess);
  EXPECT_EQ(c.to.item(), 7);
  float pageable = 11;
  cudaMemcpyAsync(c.to.raw(), &pageable, sizeof(float), cudaMemcpyHostToDevice, c.copies);
  pageable = 13;
  EXPECT_TRUE(std::isnan(c.to.item()));
  cudaStreamSynchronize(c.copies);
  EXPECT_EQ(c.to.item(), 11) << "of other memory the call itself takes a copy";
}

TEST(FusedOptimiser, TakesTwoLaunchesForAllParameters) {
  std::vector<NamedTensor> parameters;
  for (int i = 0; i < 20; ++i)
    parameters.push_back({std::to_string(i), require_grad(uniform({3 + i}, uint64_t(i)).to(cuda_device))});
  for (const NamedTensor& p : parameters) backward(p.tensor, p.tensor.detach());
  AdamW optimiser(parameters, {});
  const WeightAverage average(parameters, 0.9);
  const int64_t before = sim::counts().launches;
  EXPECT_TRUE(optimiser.step(0.1, {}, &average).done);
  EXPECT_EQ(sim::counts().launches - before, 2);
}

}  // namespace
}  // namespace relume::test
