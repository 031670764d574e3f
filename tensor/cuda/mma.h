// Tensor cores and asynchronous copies, as PTX has them for compute capability 8.0 and newer: primitives like those of
// device.h, each with a body for the device and one for the simulator, and part of what kernels may use.
//
// The lanes of a warp share a matrix of 16-bit numbers in pairs, the earlier number in the lower half. With g = lane / 4 and
// t = 2 * (lane % 4), a lane has (PTX, "Matrix fragments for mma.m16n8k16"):
//   a [16, 16]  rows g, g + 8, g, g + 8; columns t, t, t + 8, t + 8 and the next of each
//   b [16, 8]   column g; rows t, t + 8 and the next of each
//   c [16, 8]   of float: (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1)
#pragma once

#include <type_traits>

#include "tensor/core/half.h"
#include "tensor/cuda/device.h"

namespace relume::cuda {

#ifndef RELUME_CUDA_SIM
__device__ inline uint32_t shared_address(const void* at) { return uint32_t(__cvta_generic_to_shared(at)); }
#endif

// c += a b by the whole warp, products of T (Float16 or BFloat16) summed in float.
template <class T>
__device__ inline void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1 RELUME_PLACE) {
  static_assert(std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>);
#ifdef RELUME_CUDA_SIM
  const uint32_t b[2] = {b0, b1};
  const auto widen = [](uint16_t bits) {
    T x;
    x.bits = bits;
    return float(x);
  };
  sim::mma_m16n8k16(c, a, b, widen, place);
#else
  if constexpr (std::is_same_v<T, Float16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Loads 2 or 4 matrices of 8 x 8 16-bit numbers from shared memory: row r of matrix m is the 16 bytes that lane 8 m + r names
// (other lanes' rows are not looked at). to[m] has the pair of the lane: row lane / 4, columns 2 * (lane % 4) and the next, of
// the matrix or of its transpose.
template <int count, bool transposed = false>
__device__ inline void ldmatrix(uint32_t (&to)[count], const void* row RELUME_PLACE) {
  static_assert(count == 2 || count == 4);
#ifdef RELUME_CUDA_SIM
  sim::ldmatrix(to, count, transposed, row, place);
#else
  const uint32_t from = shared_address(row);
  if constexpr (count == 4 && !transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  else if constexpr (count == 4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from)
                 : "memory");
  else if constexpr (!transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(from) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(from)
                 : "memory");
#endif
}

// Starts a copy of 16 bytes to shared memory, or of zeros where there are none to be had; both addresses on 16 bytes. Until
// the thread has waited for it the destination holds nothing of use, and other threads need a barrier behind the wait.
__device__ inline void cp_async(void* to, const void* from, bool inside RELUME_PLACE) {
#ifdef RELUME_CUDA_SIM
  sim::cp_async(to, inside ? from : nullptr, place);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(__cvta_generic_to_global(from)),
               "r"(inside ? 16 : 0)
               : "memory");
#endif
}

// The copies that the thread started since the last commit become a group, which may be empty.
__device__ inline void cp_async_commit() {
#ifdef RELUME_CUDA_SIM
  sim::cp_async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for the thread's groups but for the latest `groups_left`.
template <int groups_left> __device__ inline void cp_async_wait() {
#ifdef RELUME_CUDA_SIM
  sim::cp_async_wait(groups_left);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
#endif
}

}  // namespace relume::cuda
