// How the tests of the CUDA backend run a piece of work: on a device once, in the simulator in every order of the threads and
// with either content of fresh shared memory. One of device_runs.cpp and tests/cuda_sim/sim_runs.cpp is linked.
#pragma once

#include <functional>
#include <string>

#include "tensor/core/device.h"

namespace relume::test {

inline constexpr Device cuda_device{DeviceKind::cuda, 0};

// Empty, or why the tests cannot run on this machine.
std::string why_no_device();

// Calls run(name) for every way to run.
void for_each_run(const std::function<void(const std::string&)>& run);

}  // namespace relume::test
