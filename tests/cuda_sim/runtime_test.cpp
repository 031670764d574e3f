// The simulator's CUDA runtime: streams that were created do their work when somebody waits for it; graphs when they are
// launched.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "tensor/cuda/device.h"
#include "tensor/kernels/memory.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/cuda_sim/sim.h"
#include "tests/support/group_norms.h"
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

// Launches of the forward and of the backward pass of a map of floats, 128 bytes a pixel.
std::pair<int64_t, int64_t> launches_of_group_norm(int64_t pixels) {
  const GroupNormInputs in = GroupNormInputs({1, pixels, 32}, {.groups = 4, .act = silu_activation}).with([](const Tensor& t) {
    return t.to(cuda_device);
  });
  const Tensor stats = Tensor::empty({1, 4, 2}, DType::f32, cuda_device), y = empty_like(in.x);
  const int64_t before = sim::counts().launches;
  kernels::group_norm_forward.on(cuda_device)(y, stats, in.x, in.weight, in.bias, in.options);
  const int64_t between = sim::counts().launches;
  kernels::group_norm_backward.on(cuda_device)(y, {}, {}, in.dy, in.x, stats, in.weight, in.bias, in.options);
  return {between - before, sim::counts().launches - between};
}

TEST(GroupNorm, TakesOneLaunchWhereTheMapStaysOnTheCard) {
  using Launches = std::pair<int64_t, int64_t>;
  EXPECT_EQ(launches_of_group_norm(100), Launches(1, 1));
  EXPECT_EQ(launches_of_group_norm(1000), Launches(1, 1)) << "125 KB of 227: without the gradient";
  EXPECT_EQ(launches_of_group_norm(2000), Launches(3, 3));
  sim::seen_machine().cooperative = false;
  EXPECT_EQ(launches_of_group_norm(100), Launches(3, 3));
  sim::seen_machine().cooperative = true;
}

}  // namespace
}  // namespace relume::test
