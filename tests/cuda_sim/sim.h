// The simulator: runs the kernels of tensor/cuda on the CPU (design, section 4.3). Force-included in front of every .cu file
// that g++ compiles as C++; tensor/cuda/device.h then takes the bodies of its primitives from here.
//
// Blocks run one after another, the threads of a block as fibres: each runs until it waits for others (a barrier, a warp
// operation) or ends. A block of a cooperative launch runs until the grid's barrier, then the next. Several orders of the
// threads, and two patterns that shared memory is filled with, are what finds missing barriers and reads of what was never
// written. Nothing here is thread-safe: one launch at a time, from one host thread.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>

namespace relume::sim {

// Thrown by launch() when a kernel breaks a rule of the machine; the message names the rule, the block, the thread, the place.
class Violation : public std::logic_error {
 public:
  using logic_error::logic_error;
};

enum class Order { forward, backward, shuffled };
// How kernels run from now on.
struct Settings {
  Order order = Order::forward;   // of the threads of a block, and of the blocks
  uint32_t pattern = 0x7fc0dead;  // shared memory begins with it: a NaN as float, and as two 16-bit floats something odd
};
Settings& settings();

struct Counts {
  int64_t launches = 0, blocks = 0, switches = 0;
  int64_t host_waits = 0;      // calls that make the host wait for the device
  int64_t algorithms[4] = {};  // products of cuBLASLt by each of its algorithms
};
Counts& counts();

// ---- What kernels see (through tensor/cuda/device.h) -----------------------------------------------------------------------

using Place = std::source_location;

struct Indices {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
const Indices& indices();  // of the running thread
int lane();                // of the running thread, in its warp

void* dynamic_shared_memory();
// Memory for one shared variable: named by the place that declares it, so that every thread of a block gets the same; filled
// with the pattern when a block begins.
void* static_shared_memory(const void* key, size_t bytes, size_t alignment);

void sync_block(Place place);

// The barrier of all blocks of a cooperative launch, on a counter in device memory whose lower 31 bits are 0.
void sync_grid(const uint32_t* counter, Place place);

// The lanes of `mask` meet here, each with a pointer to its own data; when the last has come, `together` is called once with
// what all of them brought (null for the others), then all go on. Lanes that meet must have come to the same place.
using Together = void (*)(void* const lanes[32], uint32_t mask);
void meet(uint32_t mask, void* data, Together together, Place place);

// A product of tensor cores, c += a b, as mma.m16n8k16 has it: every lane of the warp with its share of the fragments (PTX,
// "Matrix fragments for mma.m16n8k16"); widen() gives the value of 16 bits.
void mma_m16n8k16(float* c, const uint32_t* a, const uint32_t* b, float (*widen)(uint16_t), Place place);

// Loads `count` matrices of 8 x 8 16-bit numbers, the rows of matrix m from the lanes 8m to 8m+7. Rows that are not on 16
// bytes, or not in shared memory, are an error.
void ldmatrix(uint32_t* to, int count, bool transposed, const void* row, Place place);

// Asynchronous copies of 16 bytes, or of zeros where `from` is null. The destination, which must be shared memory, holds the
// pattern until the thread waits for the group of the copy: late, as far as it may be. A thread that ends before is an error.
void cp_async(void* to, const void* from, Place place);
void cp_async_commit();
void cp_async_wait(int groups_left);

// Breaks the run off unless `row` is 16 bytes of shared memory on their boundary.
void check_shared_row(const void* row, const char* misplaced, const Place& place);

// ---- What launches see -----------------------------------------------------------------------------------------------------

void launch(const char* name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, std::function<void()> kernel);
// All blocks of the grid exist at once; more of them than the device holds (fake_runtime.h) are an error.
void launch_cooperative(const char* name, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                        std::function<void()> kernel);

}  // namespace relume::sim

#define threadIdx (::relume::sim::indices().thread)
#define blockIdx (::relume::sim::indices().block)
#define blockDim (::relume::sim::indices().block_size)
#define gridDim (::relume::sim::indices().grid_size)
