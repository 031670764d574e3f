// Tensor cores and asynchronous copies in the simulator: fragments against plain products, and what it says about misuse.
#include "tests/cuda_sim/tensor_cores.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/cuda/mma.h"
#include "tensor/cuda/streaming_attention.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/sim.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using cuda::cp_async, cuda::cp_async_commit, cuda::cp_async_wait, cuda::ldmatrix, cuda::mma_m16n8k16, cuda::sync_block;

template <class F> void on_one_warp(const char* name, F kernel) {
  cuda::launch(name, kernel, 1, 32, 0, cuda::stream(cuda_device));
}

template <class F> std::string violation(F kernel) {
  try {
    on_one_warp("misuse", kernel);
  } catch (const sim::Violation& e) {
    return e.what();
  }
  return "nothing";
}

// Fragments straight from the tables of PTX: a[row, column] of a 16 x 16 matrix, b of 16 x 8.
template <class T> uint32_t pair_of(const T* low, const T* high) { return low->bits | uint32_t(high->bits) << 16; }
template <class T> static __global__ void multiply(float* c, const T* a, const T* b) {
  const int lane = int(threadIdx.x), g = lane / 4, t = lane % 4 * 2;
  const auto a_pair = [&](int row, int column) { return pair_of(a + row * 16 + column, a + row * 16 + column + 1); };
  const auto b_pair = [&](int row) { return pair_of(b + row * 8 + g, b + (row + 1) * 8 + g); };
  float sums[4] = {c[g * 8 + t], c[g * 8 + t + 1], c[(g + 8) * 8 + t], c[(g + 8) * 8 + t + 1]};
  const uint32_t x[4] = {a_pair(g, t), a_pair(g + 8, t), a_pair(g, t + 8), a_pair(g + 8, t + 8)};
  mma_m16n8k16<T>(sums, x, b_pair(t), b_pair(t + 8));
  c[g * 8 + t] = sums[0], c[g * 8 + t + 1] = sums[1], c[(g + 8) * 8 + t] = sums[2], c[(g + 8) * 8 + t + 1] = sums[3];
}

template <class T> void expect_product(DType type) {
  const Tensor a = uniform({16, 16}, 1).to(type), b = uniform({16, 8}, 2).to(type), c = uniform({16, 8}, 3);
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64), expected = c.to(DType::f64).clone();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j)
      for (int k = 0; k < 16; ++k)
        expected.data<double>()[i * 8 + j] += x.data<double>()[i * 16 + k] * y.data<double>()[k * 8 + j];
  cuda::launch("multiply", multiply<T>, 1, 32, 0, cuda::stream(cuda_device), c.data<float>(), a.data<T>(), b.data<T>());
  EXPECT_LE(relative_l2(c, expected), 1e-6) << type;
}

TEST(TensorCores, MultiplyFragmentsAsPtxLaysThemOut) {
  expect_product<Float16>(DType::f16);
  expect_product<BFloat16>(DType::bf16);
}

// Four matrices one below the other, their numbers 8 * row + column; what each lane gets of each.
template <int count, bool transposed> static __global__ void load(uint32_t* out) {
  RELUME_SHARED(rows, uint16_t[32][8]);
  const int lane = int(threadIdx.x);
  for (int c = 0; c < 8; ++c) rows[lane][c] = uint16_t(lane * 8 + c);
  sync_block();
  uint32_t pairs[count];
  // Lanes whose rows are not asked for may name anything.
  ldmatrix<count, transposed>(pairs, lane < 8 * count ? &rows[lane][0] : nullptr);
  for (int m = 0; m < count; ++m) out[m * 32 + lane] = pairs[m];
}

template <int count, bool transposed> void expect_loaded() {
  std::vector<uint32_t> pairs(count * 32);
  cuda::launch("load", load<count, transposed>, 1, 32, 0, cuda::stream(cuda_device), pairs.data());
  for (int m = 0; m < count; ++m)
    for (int lane = 0; lane < 32; ++lane) {
      const auto number = [&](int along, int across) {
        return uint32_t(m * 64 + (transposed ? across * 8 + along : along * 8 + across));
      };
      EXPECT_EQ(pairs[size_t(m * 32 + lane)], number(lane / 4, lane % 4 * 2) | number(lane / 4, lane % 4 * 2 + 1) << 16)
          << count << (transposed ? " transposed" : "") << ", matrix " << m << ", lane " << lane;
    }
}

TEST(TensorCores, LoadMatricesAsPtxDoes) {
  expect_loaded<2, false>(), expect_loaded<4, false>(), expect_loaded<2, true>(), expect_loaded<4, true>();
}

// Products that attention over five tokens, forward and backward, takes from tensor cores; its rows begin at `column` of wider
// ones.
int64_t products_of_attention(DType type, int head_dim, int64_t column) {
  const auto rows = [&](uint64_t seed) {
    const Tensor wide = uniform({1, 5, head_dim + 8}, seed).to(type).to(cuda_device);
    return wide.columns(column, column + head_dim);
  };
  const Tensor q = rows(1), k = rows(2), v = rows(3), dy = rows(4), y = rows(5), dq = rows(6);
  const Tensor lse = Tensor::empty({1, 5, 1}, DType::f32, cuda_device);
  const int64_t before = sim::tensor_core_products();
  cuda::streaming_attention_forward(y, lse, q, k, v, {});
  cuda::streaming_attention_backward({.dq = dq, .dk = {}, .dv = {}}, dy, y, lse, q, k, v, {});
  return sim::tensor_core_products() - before;
}

TEST(TensorCores, ComputeAttentionWhereRowsAllow) {
  EXPECT_GT(products_of_attention(DType::bf16, 64, 0), 0);
  EXPECT_GT(products_of_attention(DType::f16, 40, 8), 0);
  EXPECT_EQ(products_of_attention(DType::f16, 64, 2), 0) << "rows beside a boundary";
  EXPECT_EQ(products_of_attention(DType::f16, 30, 0), 0) << "30 channels";
  EXPECT_EQ(products_of_attention(DType::f32, 64, 0), 0) << "f32";
}

static __global__ void load_beside_a_boundary() {
  RELUME_SHARED(rows, uint16_t[33][8]);
  uint32_t pairs[4];
  ldmatrix<4>(pairs, &rows[threadIdx.x][threadIdx.x == 5 ? 4 : 0]);
}
static __global__ void load_from_elsewhere() {
  alignas(16) const uint16_t row[8] = {};
  uint32_t pairs[2];
  ldmatrix<2>(pairs, row);
}

TEST(TensorCores, RefuseRowsThatCannotBeLoaded) {
  EXPECT_HAS(
      violation(load_beside_a_boundary),
      "misuse, block (0,0,0), thread (5,0,0): ldmatrix of a row that is not 16 bytes of shared memory, on their boundary, at");
  EXPECT_HAS(violation(load_from_elsewhere), "thread (0,0,0): ldmatrix of a row that is not 16 bytes of shared memory");
}

// What shared memory holds before the waits and behind each, of two groups of one copy each.
static __global__ void copy_twice(uint32_t* seen, const uint32_t* from) {
  RELUME_SHARED(to, uint32_t[3][4]);
  if (threadIdx.x != 0) return;
  for (int i = 0; i < 4; ++i) to[0][i] = to[1][i] = to[2][i] = 1;
  const auto note = [&] {
    for (const auto& row : to) *seen++ = row[3];
  };
  cp_async(to[0], from, true);
  cp_async_commit();
  cp_async(to[1], from + 4, true);
  cp_async(to[2], from + 4, false);
  cp_async_commit();
  note();
  cp_async_wait<1>();
  note();
  cp_async_wait<0>();
  note();
}

TEST(AsynchronousCopies, ArriveWhenTheirGroupIsWaitedFor) {
  const sim::Settings kept = sim::settings();
  sim::settings().pattern = 0x12345678;
  std::vector<uint32_t> seen(9);
  alignas(16) const uint32_t from[8] = {10, 11, 12, 13, 14, 15, 16, 17};
  cuda::launch("copy_twice", copy_twice, 1, 32, 0, cuda::stream(cuda_device), seen.data(), from);
  sim::settings() = kept;
  constexpr uint32_t nothing = 0x12345678;
  EXPECT_EQ(seen, (std::vector<uint32_t>{nothing, nothing, nothing, 13, nothing, nothing, 13, 17, 0}));
}

alignas(16) const uint16_t numbers[24] = {};
static __global__ void copy_from_beside_a_boundary() {
  RELUME_SHARED(to, uint16_t[8]);
  cp_async(to, numbers + 4, true);
}
static __global__ void copy_to_beside_a_boundary() {
  RELUME_SHARED(to, uint16_t[16]);
  cp_async(to + 4, numbers, true);
}
static __global__ void copy_and_leave() {
  RELUME_SHARED(to, uint16_t[8]);
  cp_async(to, numbers, true);
  cp_async_commit();
}

TEST(AsynchronousCopies, RefuseMisuse) {
  EXPECT_HAS(violation(copy_from_beside_a_boundary), "cp_async from what is not on a boundary of 16 bytes at ");
  EXPECT_HAS(violation(copy_to_beside_a_boundary), "cp_async to what is not 16 bytes of shared memory, on their boundary, at ");
  EXPECT_HAS(violation(copy_and_leave), "thread (0,0,0): ends with asynchronous copies that it did not wait for");
}

}  // namespace
}  // namespace relume::test
