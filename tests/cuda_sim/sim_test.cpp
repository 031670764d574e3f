// The simulator: the order of the threads, what shared memory begins with, what it says about mistakes (mutants.cu has more).
#include "tests/cuda_sim/sim.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/cuda/device.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/support/errors.h"

namespace relume::test {
namespace {

template <class F> std::string violation(F&& f) {
  try {
    f();
  } catch (const sim::Violation& e) {
    return e.what();
  }
  return "nothing";
}

static __global__ void note_threads(std::vector<int>* seen) { seen->push_back(int(blockIdx.x * 100 + threadIdx.x)); }

TEST(Simulator, RunsThreadsInTheOrderAskedFor) {
  const sim::Settings kept = sim::settings();
  std::vector<int> seen;
  const auto run = [&](sim::Order order) {
    sim::settings().order = order;
    seen.clear();
    cuda::launch("note_threads", note_threads, 2, 3, 0, cuda::stream(cuda_device), &seen);
    return seen;
  };
  EXPECT_EQ(run(sim::Order::forward), (std::vector{0, 1, 2, 100, 101, 102}));
  EXPECT_EQ(run(sim::Order::backward), (std::vector{102, 101, 100, 2, 1, 0}));
  const std::vector<int> shuffled = run(sim::Order::shuffled);
  EXPECT_EQ(run(sim::Order::shuffled), shuffled) << "the same order every time";
  EXPECT_EQ(std::set<int>(shuffled.begin(), shuffled.end()).size(), 6u);
  sim::settings() = kept;
}

static __global__ void note_shared(uint32_t* first, uint32_t* second) {
  RELUME_SHARED(fixed, uint32_t[3]);
  if (threadIdx.x == 0) {
    first[blockIdx.x] = fixed[2], second[blockIdx.x] = cuda::dynamic_shared<uint32_t>()[1];
    fixed[2] = cuda::dynamic_shared<uint32_t>()[1] = 17;
  }
}

TEST(Simulator, SharedMemoryBeginsWithThePatternInEveryBlock) {
  const sim::Settings kept = sim::settings();
  sim::settings().pattern = 0x12345678;
  uint32_t first[2] = {}, second[2] = {};
  cuda::launch("note_shared", note_shared, 2, 32, 8, cuda::stream(cuda_device), first, second);
  for (const uint32_t word : {first[0], first[1], second[0], second[1]}) EXPECT_EQ(word, 0x12345678u);
  sim::settings() = kept;
}

static __global__ void exchange(int* shuffled, int* crossed, uint32_t* votes) {
  const int lane = int(threadIdx.x);
  shuffled[lane] = cuda::shuffle(lane * 10, (lane + 1) % 32);
  crossed[lane] = cuda::shuffle_xor(lane, 5);
  votes[lane] = cuda::ballot(lane % 3 == 0);
}

TEST(Simulator, LanesExchange) {
  int shuffled[32], crossed[32];
  uint32_t votes[32], expected = 0;
  cuda::launch("exchange", exchange, 1, 32, 0, cuda::stream(cuda_device), shuffled, crossed, votes);
  for (int l = 0; l < 32; ++l) expected |= uint32_t(l % 3 == 0) << l;
  for (int l = 0; l < 32; ++l) {
    EXPECT_EQ(shuffled[l], (l + 1) % 32 * 10);
    EXPECT_EQ(crossed[l], l ^ 5);
    EXPECT_EQ(votes[l], expected);
  }
}

static __global__ void meet_outside(int mask) { cuda::shuffle(1, 0, uint32_t(mask)); }
static __global__ void meet_early() {
  if (threadIdx.x != 3) cuda::sync_block();
}

TEST(Simulator, SaysWhoBrokeWhichRule) {
  const cudaStream_t on = cuda::stream(cuda_device);
  EXPECT_HAS(violation([&] { cuda::launch("meet_outside", meet_outside, 1, 32, 0, on, 6); }),
             "meet_outside, block (0,0,0), thread (0,0,0): the calling lane is not in the mask of the warp operation at ");
  EXPECT_HAS(violation([&] { cuda::launch("meet_early", meet_early, 1, 64, 0, on); }),
             "1 threads ended; 63 threads wait at the barrier of ");
  EXPECT_HAS(violation([&] { cuda::launch("meet_early", meet_early, 1, 1025, 0, on); }), "blocks of 1 to 1024 threads");
  EXPECT_HAS(violation([&] { cuda::launch("meet_early", meet_early, 0, 32, 0, on); }), "the grid is empty");
  EXPECT_HAS(violation([&] { cuda::launch("meet_early", meet_early, 1, 32, 256 << 10, on); }), "227 KB of shared memory");
}

// Twice, so that the counter serves again.
static __global__ void pass_on(cuda::GridBarrier* barrier, int* numbers) {
  const int block = int(blockIdx.x), blocks = int(gridDim.x);
  if (threadIdx.x == 0) numbers[block] = block;
  cuda::sync_grid(barrier);
  const int next = numbers[(block + 1) % blocks];
  cuda::sync_grid(barrier);
  if (threadIdx.x == 0) numbers[block] = next;
}

TEST(Simulator, BlocksOfACooperativeLaunchMeet) {
  for_each_run([&](const std::string& run) {
    int numbers[3] = {};
    cuda::launch_cooperative("pass_on", pass_on, 3, 64, 0, cuda::stream(cuda_device), cuda::grid_barrier(cuda_device), numbers);
    EXPECT_EQ(std::vector(numbers, numbers + 3), (std::vector{1, 2, 0})) << run;
  });
}

static __global__ void use_shared(cuda::GridBarrier* barrier) {
  RELUME_SHARED(fixed, char[60 << 10]);
  fixed[threadIdx.x] = 0;
  cuda::sync_grid(barrier);
}

TEST(Simulator, RefusesCooperativeLaunchesAsADeviceDoes) {
  const cudaStream_t on = cuda::stream(cuda_device);
  cuda::GridBarrier* const barrier = cuda::grid_barrier(cuda_device);
  int numbers[4] = {};
  EXPECT_HAS(violation([&] { cuda::launch("pass_on", pass_on, 1, 32, 0, on, barrier, numbers); }),
             "the grid's barrier in a launch that is not cooperative, at ");
  EXPECT_HAS(violation([&] { cuda::launch_cooperative("pass_on", pass_on, 4, 256, 0, on, barrier, numbers); }),
             "pass_on: a cooperative launch of 4 blocks, of which 3 run at once");
  EXPECT_HAS(violation([&] { cuda::launch_cooperative("pass_on", pass_on, 2, 64, 114 << 10, on, barrier, numbers); }),
             "of 2 blocks, of which 1 run at once");
  EXPECT_HAS(violation([&] { cuda::launch_cooperative("use_shared", use_shared, 3, 64, 30 << 10, on, barrier); }),
             "of 3 blocks, of which 2 run at once");
  cuda::GridBarrier used{7};
  EXPECT_HAS(violation([&] { cuda::launch_cooperative("pass_on", pass_on, 2, 64, 0, on, &used, numbers); }),
             "did not begin with 0");
  sim::seen_machine().cooperative = false;
  EXPECT_HAS(violation([&] { cuda::launch_cooperative("pass_on", pass_on, 1, 64, 0, on, barrier, numbers); }),
             "of 1 blocks, of which 0 run at once");
  sim::seen_machine().cooperative = true;
}

TEST(Simulator, CountsBlocksAtOnceAsADeviceDoes) {
  const auto* const kernel = reinterpret_cast<const void*>(pass_on);
  EXPECT_EQ(cuda::blocks_at_once(cuda_device, kernel, 256, 0), 3);
  EXPECT_EQ(cuda::blocks_at_once(cuda_device, kernel, 64, 100 << 10), 2) << "more than 48 KB are allowed first";
  EXPECT_EQ(cuda::blocks_at_once(cuda_device, kernel, 64, 228 << 10), 0);
  int blocks = -1;
  const auto* const other = reinterpret_cast<const void*>(use_shared);
  EXPECT_EQ(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, other, 64, 100 << 10), cudaSuccess);
  EXPECT_EQ(blocks, 0) << "nobody allowed it";
  EXPECT_EQ(cudaFuncSetAttribute(other, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10), cudaErrorInvalidValue);
}

TEST(CudaMemory, RunsOutWithTheFigures) {
  sim::set_device_memory(1 << 20);
  std::string text;
  try {
    Tensor::empty({1 << 20}, DType::f32, cuda_device);
  } catch (const OutOfMemory& e) {
    text = e.what();
  }
  sim::set_device_memory(16ull << 30);
  EXPECT_HAS(text, "out of memory on cuda:0: 4.2 MB asked for");
  EXPECT_HAS(text, "of 1.0 MB free; use a smaller picture, tile, batch or network");
}

}  // namespace
}  // namespace relume::test
