// Kernels with a mistake each, of the kinds that kernels have, and a convolution that cuDNN is told of wrongly. `cuda_mutant
// NAME` runs one in every order of the threads and with either content of fresh shared memory, and ends with 0 when all its
// results were right: the simulator did not notice. ctest expects that of `none` alone.
#include <cmath>
#include <iostream>
#include <map>
#include <string>
#include <utility>

#include "tensor/backends.h"
#include "tensor/core/tensor.h"
#include "tensor/cuda/cublaslt.h"
#include "tensor/cuda/cudnn_conv.h"
#include "tensor/cuda/device.h"
#include "tensor/cuda/mma.h"
#include "tensor/kernels/conv.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

enum class Mistake {
  none,
  missing_barrier,
  divergent_barrier,
  unequal_barriers,
  missing_grid_barrier,
  divergent_grid_barrier,
  tail_one_too_many,
  tail_one_too_few,
  shared_memory_not_written,
  shared_memory_too_small,
  lane_outside_of_mask,
  lanes_at_different_operations,
  host_reads_device_memory,
  copy_read_before_wait,
  wrong_fragment,
  wrong_stride,
  wrong_leading_dimension,
  wrong_transpose,
  copy_not_awaited,
};

const std::map<std::string, Mistake>& mistakes() {
  static const std::map<std::string, Mistake> names{
      {"none", Mistake::none},
      {"missing_barrier", Mistake::missing_barrier},
      {"divergent_barrier", Mistake::divergent_barrier},
      {"unequal_barriers", Mistake::unequal_barriers},
      {"missing_grid_barrier", Mistake::missing_grid_barrier},
      {"divergent_grid_barrier", Mistake::divergent_grid_barrier},
      {"tail_one_too_many", Mistake::tail_one_too_many},
      {"tail_one_too_few", Mistake::tail_one_too_few},
      {"shared_memory_not_written", Mistake::shared_memory_not_written},
      {"shared_memory_too_small", Mistake::shared_memory_too_small},
      {"lane_outside_of_mask", Mistake::lane_outside_of_mask},
      {"lanes_at_different_operations", Mistake::lanes_at_different_operations},
      {"host_reads_device_memory", Mistake::host_reads_device_memory},
      {"copy_read_before_wait", Mistake::copy_read_before_wait},
      {"wrong_fragment", Mistake::wrong_fragment},
      {"wrong_stride", Mistake::wrong_stride},
      {"wrong_leading_dimension", Mistake::wrong_leading_dimension},
      {"wrong_transpose", Mistake::wrong_transpose},
      {"copy_not_awaited", Mistake::copy_not_awaited},
  };
  return names;
}

constexpr int threads = 64, count = 1000;

// out[block] = the sum of the block's share of x, through shared memory and the lanes of a warp.
static __global__ void sum_blocks(int n, float* out, const float* x, Mistake mistake) {
  using cuda::sync_block;
  RELUME_SHARED(values, float[threads]);
  float* const late = cuda::dynamic_shared<float>();  // [threads]
  const int i = int(blockIdx.x * threads + threadIdx.x), t = int(threadIdx.x);
  const bool inside = mistake == Mistake::tail_one_too_many ? i <= n : mistake == Mistake::tail_one_too_few ? i < n - 1 : i < n;
  if (mistake != Mistake::shared_memory_not_written || t != 7) values[t] = inside ? x[i] : 0;
  if (mistake == Mistake::divergent_barrier) {
    if (t < 40) sync_block();
  } else if (mistake == Mistake::unequal_barriers) {
    if (t < 32)
      sync_block();
    else
      sync_block();
  } else if (mistake != Mistake::missing_barrier) {
    sync_block();
  }
  // The other half's value: a thread reads what another wrote.
  late[mistake == Mistake::shared_memory_too_small ? t + 1 : t] = values[threads - 1 - t];
  float sum = late[mistake == Mistake::shared_memory_too_small ? t + 1 : t];
  if (mistake == Mistake::lane_outside_of_mask) sum += cuda::shuffle(0.f, 0, t < 32 ? 0x7fffffffu : cuda::whole_warp);
  if (mistake == Mistake::lanes_at_different_operations) sum += t % 2 ? cuda::shuffle(0.f, 0) : cuda::shuffle(0.f, 1);
  sum = cuda::block_sum<threads>(sum);
  if (t == 0) out[blockIdx.x] = sum;
}

bool sums_right(Mistake mistake) {
  std::vector<float> numbers(count);
  for (int i = 0; i < count; ++i) numbers[size_t(i)] = float(i % 17) - 5;
  const Tensor x = Tensor::of(Shape{count}, numbers).to(cuda_device);
  constexpr int blocks = (count + threads - 1) / threads;
  bool right = true;
  for_each_run([&](const std::string& run) {
    const Tensor out = Tensor::zeros({blocks}, DType::f32, cuda_device);
    cuda::launch("sum_blocks", sum_blocks, blocks, threads, threads * sizeof(float), cuda::stream(cuda_device), count,
                 out.data<float>(), x.data<float>(), mistake);
    if (mistake == Mistake::host_reads_device_memory) right &= out.data<float>()[0] == 0;
    const Tensor sums = out.to(Device{});
    for (int b = 0; b < blocks; ++b) {
      float expected = 0;
      for (int i = b * threads; i < std::min(count, (b + 1) * threads); ++i) expected += numbers[size_t(i)];
      if (sums.data<float>()[b] == expected) continue;
      std::cout << run << ": block " << b << " gave " << sums.data<float>()[b] << ", expected " << expected << "\n";
      right = false;
    }
  });
  return right;
}

// shares[block] = the block's share of 1, with the sum of what all blocks brought as the whole.
static __global__ void share_out(cuda::GridBarrier* barrier, float* shares, float* brought, Mistake mistake) {
  const int block = int(blockIdx.x);
  if (threadIdx.x == 0) brought[block] = float(block + 1);
  if (mistake != Mistake::missing_grid_barrier && (mistake != Mistake::divergent_grid_barrier || block != 1))
    cuda::sync_grid(barrier);
  float sum = 0;
  for (int b = 0; b < int(gridDim.x); ++b) sum += brought[b];
  if (threadIdx.x == 0) shares[block] = float(block + 1) / sum;
}

bool shares_right(Mistake mistake) {
  constexpr int blocks = 3;
  bool right = true;
  for_each_run([&](const std::string& run) {
    const Tensor shares = Tensor::zeros({blocks}, DType::f32, cuda_device);
    const Tensor brought = Tensor::full({blocks}, NAN, DType::f32, cuda_device);
    cuda::launch_cooperative("share_out", share_out, blocks, threads, 0, cuda::stream(cuda_device),
                             cuda::grid_barrier(cuda_device), shares.data<float>(), brought.data<float>(), mistake);
    const Tensor found = shares.to(Device{});
    for (int b = 0; b < blocks; ++b) {
      if (found.data<float>()[b] == float(b + 1) / 6) continue;
      std::cout << run << ": the share of block " << b << " is " << found.data<float>()[b] << "\n";
      right = false;
    }
  });
  return right;
}

// out [16, 8] = left [16, 16] right [8, 16]^T by one warp, through shared memory.
static __global__ void multiply_fragments(float* out, const Float16* left, const Float16* right, Mistake mistake) {
  RELUME_SHARED(a, Float16[16][16]);
  RELUME_SHARED(b, Float16[8][16]);
  const int lane = int(threadIdx.x);
  cuda::cp_async(&a[lane / 2][lane % 2 * 8], left + lane * 8, true);
  if (lane < 16) cuda::cp_async(&b[lane / 2][lane % 2 * 8], right + lane * 8, true);
  cuda::cp_async_commit();
  if (mistake != Mistake::copy_read_before_wait) cuda::cp_async_wait<0>();
  cuda::sync_block();
  uint32_t x[4], y[2];
  cuda::ldmatrix<4>(x, &a[lane % 16][lane / 16 * 8]);
  cuda::ldmatrix<2>(y, &b[lane % 8][lane / 8 % 2 * 8]);
  if (mistake == Mistake::wrong_fragment) std::swap(x[1], x[2]);
  float sums[4] = {};
  cuda::mma_m16n8k16<Float16>(sums, x, y[0], y[1]);
  for (int i = 0; i < 4; ++i) out[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
  cuda::cp_async_wait<0>();
}

bool fragments_right(Mistake mistake) {
  const Tensor left = uniform({16, 16}, 1).to(DType::f16), right = uniform({8, 16}, 2).to(DType::f16);
  const Tensor a = left.to(DType::f32), b = right.to(DType::f32), expected = Tensor::zeros({16, 8});
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; ++k)
        expected.data<float>()[i * 8 + j] += a.data<float>()[i * 16 + k] * b.data<float>()[j * 16 + k];
  const Tensor left_there = left.to(cuda_device), right_there = right.to(cuda_device);
  bool all_right = true;
  for_each_run([&](const std::string& run) {
    const Tensor out = Tensor::zeros({16, 8}, DType::f32, cuda_device);
    cuda::launch("multiply_fragments", multiply_fragments, 1, 32, 0, cuda::stream(cuda_device), out.data<float>(),
                 left_there.data<Float16>(), right_there.data<Float16>(), mistake);
    const double error = relative_l2(out.to(Device{}), expected);
    if (error <= 1e-6) return;
    std::cout << run << ": the product of fragments is wrong by " << error << "\n";
    all_right = false;
  });
  return all_right;
}

// What cuDNN is told of the rows of a map.
bool convolution_right(Mistake mistake) {
  const Tensor x = uniform({1, 4, 5, 3}, 1), w = uniform({2, 3, 3, 3}, 2), expected = Tensor::empty({1, 4, 5, 2});
  kernels::conv2d_forward.on({})(expected, x, w, {}, kernels::ConvOptions::same(3), {});
  const Tensor y = Tensor::empty(expected.shape(), DType::f32, cuda_device), x_there = x.to(cuda_device),
               w_there = w.to(cuda_device);
  cuda::Convolution c{.pass = cuda::ConvPass::forward,
                      .type = CUDNN_DATA_FLOAT,
                      .x = cuda::GraphTensor(x_there),
                      .w = cuda::GraphTensor(w_there),
                      .y = cuda::GraphTensor(y),
                      .stride = {1, 1},
                      .before = {1, 1},
                      .after = {1, 1}};
  if (mistake == Mistake::wrong_stride) c.x.strides[2] -= x.shape(3);
  cuda::run(c, cuda_device, {x_there.raw(), w_there.raw(), y.raw()});
  const double error = relative_l2(y.to(Device{}), expected);
  if (error > 1e-6) std::cout << "the convolution is wrong by " << error << "\n";
  return error <= 1e-6;
}

// out = left right^T of square matrices, left's rows one pitch apart, from descriptors as tensor/cuda/cublaslt.cpp makes them.
bool product_right(Mistake mistake) {
  constexpr int64_t n = 5, pitch = n + 3;
  std::vector<float> l(n * pitch), r(n * n);
  for (size_t i = 0; i < l.size(); ++i) l[i] = float(i % 7) - 2;
  for (size_t i = 0; i < r.size(); ++i) r[i] = float(i % 11) - 3;
  const Tensor left = Tensor::of(Shape{n, pitch}, l).to(cuda_device), right = Tensor::of(Shape{n, n}, r).to(cuda_device);
  const Tensor out = Tensor::zeros({n, n}, DType::f32, cuda_device);
  const auto square = [](int64_t from_row_to_row) { return cuda::matrix_layout(DType::f32, n, n, from_row_to_row); };
  const cuda::MatrixLayout a = square(n), b = square(mistake == Mistake::wrong_leading_dimension ? n : pitch), d = square(n);
  const cuda::MatmulOperation operation = cuda::matmul_operation(mistake != Mistake::wrong_transpose, false, nullptr);
  const float alpha = 1, beta = 0;
  cuda::check(
      cublasLtMatmul(cuda::cublaslt_handle(cuda_device), operation.get(), &alpha, right.raw(), a.get(), left.raw(), b.get(),
                     &beta, out.raw(), d.get(), out.raw(), d.get(), nullptr, nullptr, 0, cuda::stream(cuda_device)),
      "cublasLtMatmul");
  const Tensor product = out.to(Device{});
  bool right_numbers = true;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float expected = 0;
      for (int64_t k = 0; k < n; ++k) expected += l[size_t(i * pitch + k)] * r[size_t(j * n + k)];
      right_numbers &= product.data<float>()[i * n + j] == expected;
    }
  if (!right_numbers) std::cout << "the product is wrong\n";
  return right_numbers;
}

// A copy on a stream of its own, which the stream that reads has to wait for.
bool copy_right(Mistake mistake) {
  cudaStream_t copies = nullptr;
  cudaEvent_t copied = nullptr;
  void* pinned = nullptr;
  cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&copied, cudaEventDisableTiming);
  cudaHostAlloc(&pinned, sizeof(float), cudaHostAllocDefault);
  *static_cast<float*>(pinned) = 5;
  const Tensor to = Tensor::full({1}, 3, DType::f32, cuda_device);
  cudaMemcpyAsync(to.raw(), pinned, sizeof(float), cudaMemcpyHostToDevice, copies);
  cudaEventRecord(copied, copies);
  if (mistake != Mistake::copy_not_awaited) cudaStreamWaitEvent(cuda::stream(cuda_device), copied, 0);
  const double found = to.item();
  cudaStreamDestroy(copies), cudaEventDestroy(copied), cudaFreeHost(pinned);
  if (found != 5) std::cout << "the copy gave " << found << "\n";
  return found == 5;
}

bool all_right(Mistake mistake) {
  return sums_right(mistake) && shares_right(mistake) && fragments_right(mistake) && convolution_right(mistake) &&
         product_right(mistake) && copy_right(mistake);
}

}  // namespace
}  // namespace relume::test

int main(int argc, char** argv) {
  const auto found = relume::test::mistakes().find(argc == 2 ? argv[1] : "");
  if (found == relume::test::mistakes().end()) {
    std::cout << "usage: cuda_mutant NAME\n";
    return 0;  // so that an entry of ctest with a wrong name does not pass
  }
  relume::register_backends();
  try {
    return relume::test::all_right(found->second) ? 0 : 1;
  } catch (const relume::sim::Violation& e) {
    std::cout << e.what() << "\n";
    return 1;
  }
}
