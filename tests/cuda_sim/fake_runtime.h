// The CUDA runtime of the simulator: device memory is memory that only kernels and copies may touch. What is asked of a
// thread's own stream takes effect at once; what is asked of a stream that was created, when somebody waits for it, and until
// then what it will write is full of NaN. While a stream is captured nothing takes effect: the graph gets it, and runs it when
// it is launched. Fakes answer calls of the real headers; what we never call is missing, and the linker says so.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <functional>
#include <utility>
#include <vector>

namespace relume::sim {

// Does the work of a stream, in its order.
void enqueue(cudaStream_t stream, std::function<void()> work);

// While one exists, device memory may be touched. Outside, the address sanitizer reports the host that does.
class DeviceMemoryOpen {
 public:
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;
};

// Time passes on the device: what events measure. Kernels and copies take none.
void pass_time(float milliseconds);

// Bytes that the device pretends to have; allocations beyond fail as on a device.
void set_device_memory(unsigned long long bytes);

// What the machine pretends to be. A multiprocessor has room for three blocks of 256 threads, and 228 KB of shared memory, of
// which every block takes 1 KB for itself.
struct SeenMachine {
  std::vector<std::pair<int, int>> gpus{{9, 0}};  // compute capability of each
  cudaError_t driver = cudaSuccess;               // what asking for them gives
  int multiprocessors = 1;                        // few, so that small work already makes threads go round their loops
  bool cooperative = true;                        // whether grids can be launched as a whole
};
SeenMachine& seen_machine();

// False: what is queued from then on never ends, as events see it.
std::atomic<bool>& work_ends();

// Bytes of shared memory that a block may ask for: 227 KB as on compute capability 9.0, until it is set.
void set_shared_bytes_per_block(int bytes);
int shared_bytes_per_block();

// Blocks that run at once; none where grids cannot be launched as a whole.
int blocks_at_once(size_t threads, size_t shared_bytes);

}  // namespace relume::sim
