// The device that a call runs on: its stream, its properties, and what it throws when CUDA fails.
#pragma once

#include <cuda_runtime_api.h>

#include "tensor/core/tensor.h"

namespace relume::cuda {

// Everything of a thread runs on one stream per device, in order (design D3); the default is CUDA's stream per thread.
cudaStream_t stream(Device device);

// Multiprocessors of the device: what a grid that loops is sized by.
int multiprocessors(Device device);

// Bytes of shared memory that a block may ask for.
size_t shared_bytes_per_block(Device device);

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
