// Everything that a kernel of this folder may use of the machine, and how kernels are launched. Each primitive has two bodies:
// the device's, and the simulator's (docs/cuda.md), which runs the same source on the CPU. Kernels use nothing beside this
// header and mma.h: no cooperative groups, no intrinsics of their own.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <type_traits>

#include "tensor/cuda/context.h"

#ifdef RELUME_CUDA_SIM
#define RELUME_PLACE , const ::relume::sim::Place& place = ::relume::sim::Place::current()
#define RELUME_ONLY_PLACE const ::relume::sim::Place& place = ::relume::sim::Place::current()
#else
#define RELUME_PLACE
#define RELUME_ONLY_PLACE
#endif

// One variable of shared memory: RELUME_SHARED(sums, float[32]); its contents are undefined until they are written.
#ifdef RELUME_CUDA_SIM
#define RELUME_SHARED(name, ...)                         \
  static const char name##_key = 0;                      \
  using name##_type = ::relume::cuda::Same<__VA_ARGS__>; \
  auto& name = *static_cast<name##_type*>(::relume::sim::static_shared_memory(&name##_key, sizeof(name##_type), 16))
#else
#define RELUME_SHARED(name, ...) __shared__ __align__(16) ::relume::cuda::Same<__VA_ARGS__> name
#endif

// Before a loop whose counter must be a constant, so that an array it indexes stays in registers.
#ifdef RELUME_CUDA_SIM
#define RELUME_UNROLL
#else
#define RELUME_UNROLL _Pragma("unroll")
#endif

namespace relume::cuda {

template <class T> using Same = T;
inline constexpr int warp_size = 32;
inline constexpr uint32_t whole_warp = 0xffffffffu;

// The shared memory whose size the launch gives, 16-byte aligned.
template <class T> __device__ inline T* dynamic_shared() {
#ifdef RELUME_CUDA_SIM
  return static_cast<T*>(sim::dynamic_shared_memory());
#else
  extern __shared__ __align__(16) unsigned char relume_dynamic_shared[];
  return reinterpret_cast<T*>(relume_dynamic_shared);
#endif
}

// Every thread of the block gets here before one goes on.
__device__ inline void sync_block(RELUME_ONLY_PLACE) {
#ifdef RELUME_CUDA_SIM
  sim::sync_block(place);
#else
  __syncthreads();
#endif
}

// Every thread of the grid gets here before one goes on, and what was written before can be read behind; in kernels that
// launch_cooperative() launched.
__device__ inline void sync_grid(GridBarrier* barrier RELUME_PLACE) {
#ifdef RELUME_CUDA_SIM
  sim::sync_grid(&barrier->arrived, place);
#else
  __syncthreads();
  if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
    // All blocks together add 2^31: the top bit turns when the last has come, and the others are 0 again.
    const uint32_t others = gridDim.x * gridDim.y * gridDim.z - 1;
    const bool first = blockIdx.x + blockIdx.y + blockIdx.z == 0;
    __threadfence();
    const uint32_t before = atomicAdd(&barrier->arrived, first ? 0x80000000u - others : 1u);
    const volatile uint32_t* const arrived = &barrier->arrived;
    while (((before ^ *arrived) & 0x80000000u) == 0) {}
    __threadfence();
  }
  __syncthreads();
#endif
}

#ifdef RELUME_CUDA_SIM
namespace detail {
// The lanes of the mask exchange a T each: every lane gets what choose(lane) names.
template <class T> struct Exchange {
  T mine;
  int from;
  T got;
};
template <class T> inline T exchange(uint32_t mask, T mine, int from, const sim::Place& place) {
  Exchange<T> own{mine, from, mine};
  sim::meet(
      mask, &own,
      [](void* const lanes[32], uint32_t) {
        for (int l = 0; l < warp_size; ++l) {
          auto* to = static_cast<Exchange<T>*>(lanes[l]);
          if (to && to->from >= 0 && to->from < warp_size && lanes[to->from])
            to->got = static_cast<Exchange<T>*>(lanes[to->from])->mine;
        }
      },
      place);
  return own.got;
}
}  // namespace detail
#endif

// What the lane `from` of the mask has; all lanes of the mask call it together.
template <class T> __device__ inline T shuffle(T x, int from, uint32_t mask = whole_warp RELUME_PLACE) {
#ifdef RELUME_CUDA_SIM
  return detail::exchange(mask, x, from, place);
#else
  return __shfl_sync(mask, x, from);
#endif
}
// What the lane has whose number differs from ours by the bits of `bits`.
template <class T> __device__ inline T shuffle_xor(T x, int bits, uint32_t mask = whole_warp RELUME_PLACE) {
#ifdef RELUME_CUDA_SIM
  return detail::exchange(mask, x, sim::lane() ^ bits, place);
#else
  return __shfl_xor_sync(mask, x, bits);
#endif
}
// One bit per lane of the mask: whether its condition holds.
__device__ inline uint32_t ballot(bool condition, uint32_t mask = whole_warp RELUME_PLACE) {
#ifdef RELUME_CUDA_SIM
  struct Vote {
    bool mine;
    uint32_t all;
  } own{condition, 0};
  sim::meet(
      mask, &own,
      [](void* const lanes[32], uint32_t) {
        uint32_t all = 0;
        for (int l = 0; l < warp_size; ++l)
          if (lanes[l] && static_cast<Vote*>(lanes[l])->mine) all |= 1u << l;
        for (int l = 0; l < warp_size; ++l)
          if (lanes[l]) static_cast<Vote*>(lanes[l])->all = all;
      },
      place);
  return own.all;
#else
  return __ballot_sync(mask, condition);
#endif
}

// Adds to what other threads of the device add to as well, in no particular order; gives what was there before.
template <class T> __device__ inline T atomic_add(T* to, T x) {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, uint32_t>);
#ifdef RELUME_CUDA_SIM
  const T before = *to;
  *to += x;
  return before;
#else
  return atomicAdd(to, x);
#endif
}

// Whoever on the device sees what this thread writes behind the fence sees what it wrote before; what it reads behind is no
// older than what it read before.
__device__ inline void device_fence() {
#ifndef RELUME_CUDA_SIM
  __threadfence();
#endif
}

template <class T> __device__ inline T warp_sum(T x) {
  for (int bits = warp_size / 2; bits > 0; bits /= 2) x += shuffle_xor(x, bits);
  return x;
}
// The sum over a block of `threads` threads, a multiple of the warp, in an order that is always the same; every thread gets it.
template <int threads, class T> __device__ inline T block_sum(T x) {
  static_assert(threads % warp_size == 0 && threads <= 1024);
  RELUME_SHARED(sums, T[threads / warp_size]);
  x = warp_sum(x);
  sync_block();  // an earlier sum may still be read
  if (threadIdx.x % warp_size == 0) sums[threadIdx.x / warp_size] = x;
  sync_block();
  T total = sums[0];
  for (int w = 1; w < threads / warp_size; ++w) total += sums[w];
  return total;
}

// ---- Launching -------------------------------------------------------------------------------------------------------------

// Runs the kernel on the stream; arguments are converted to the kernel's parameters.
template <class... P, class... A> void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block,
                                              size_t shared_bytes, cudaStream_t stream, A&&... args) {
#ifdef RELUME_CUDA_SIM
  sim::launch(name, grid, block, shared_bytes, stream, [kernel, ... parameters = P(args)] { kernel(parameters...); });
#else
  allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes, name);
  kernel<<<grid, block, shared_bytes, stream>>>(P(args)...);
  check(cudaGetLastError(), name);
#endif
}

// The same for a kernel whose blocks meet at sync_grid(): all run at once. A grid of more than blocks_at_once() is an error.
template <class... P, class... A> void launch_cooperative(const char* name, void (*kernel)(P...), dim3 grid, dim3 block,
                                                          size_t shared_bytes, cudaStream_t stream, A&&... args) {
#ifdef RELUME_CUDA_SIM
  sim::launch_cooperative(name, grid, block, shared_bytes, stream,
                          [kernel, ... parameters = P(args)] { kernel(parameters...); });
#else
  allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes, name);
  const auto run = [&](P... parameters) {
    void* pointers[] = {static_cast<void*>(&parameters)...};
    return cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
  };
  check(run(P(args)...), name);
#endif
}

}  // namespace relume::cuda
