// The CUDA runtime of the simulator: device memory is memory that only kernels and copies may touch, every call takes effect at
// once. Fakes answer calls of the real headers; what we never call is missing, and the linker says so.
#pragma once

#include <atomic>

namespace relume::sim {

// While one exists, device memory may be touched. Outside, the address sanitizer reports the host that does.
class DeviceMemoryOpen {
 public:
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;
};

// Bytes that the device pretends to have; allocations beyond fail as on a device.
void set_device_memory(unsigned long long bytes);

// False: what is queued from then on never ends, as events see it.
std::atomic<bool>& work_ends();

}  // namespace relume::sim
