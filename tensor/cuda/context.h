// The device that a call runs on: its stream, its properties, and what it throws when CUDA fails.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "tensor/core/tensor.h"

namespace relume::cuda {

// Everything of a thread runs on one stream per device, in order (design D3); the default is CUDA's stream per thread.
cudaStream_t stream(Device device);

// Multiprocessors of the device: what a grid that loops is sized by.
int multiprocessors(Device device);

// Bytes of shared memory that a block may ask for.
size_t shared_bytes_per_block(Device device);

// Blocks of a kernel that run on the device at once, with so many threads and bytes of dynamic shared memory each. 0 where no
// such block runs, and on a device that cannot launch a grid as a whole (launch_cooperative() of device.h).
int blocks_at_once(Device device, const void* kernel, int threads, size_t shared_bytes);

// Lets blocks of the kernel ask for so many bytes of dynamic shared memory; beyond 48 KB they must be allowed to. `name` stands
// in the error.
void allow_shared_bytes(const void* kernel, size_t shared_bytes, const char* name);

// What blocks of a grid count one another with (sync_grid() of device.h): the calling thread's own on the device, because grids
// that run at the same time need two. It stays for as long as the process, and never has to be reset.
struct GridBarrier {
  uint32_t arrived;
};
GridBarrier* grid_barrier(Device device);

// Whether the libraries may round numbers of this type to TF32 before they multiply them: floats, where the thread lets them
// (tensor/core/float_products.h).
bool rounds_to_tf32(DType type);

// Throws an Error that names the call and what CUDA says.
void check(cudaError_t result, const char* call);

// Waits until everything of the stream, or what was recorded of one, has run. Calls are counted: a training step has one, for
// the numbers that are logged.
void wait_for(cudaStream_t stream);
void wait_for(cudaEvent_t event);
int64_t host_waits();

// Throws an Error when the stream is being captured (captured_call.h): what `doing` names cannot be part of a CUDA graph.
void refuse_capture(cudaStream_t stream, const char* doing);

}  // namespace relume::cuda
