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

// Calls run() for every amount of shared memory that a block may have: the device's, or in the simulator those of compute
// capabilities 9.0, 8.0 and 8.6 (227, 163 and 99 KB) that are no smaller than `least_kilobytes`.
void for_each_shared_memory(int least_kilobytes, const std::function<void()>& run);

// Calls run(name) for every card: the device, or in the simulator one with a single multiprocessor and one with many. What
// depends on blocks that run at once takes another way on each.
void for_each_card(const std::function<void(const std::string&)>& run);

}  // namespace relume::test
