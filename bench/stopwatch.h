// Time that a device works: events in its stream on a GPU, whose calls return before they have run, a clock on the CPU.
#pragma once

#include "tensor/core/device.h"

#ifdef RELUME_HAVE_CUDA
#include "tensor/cuda/context.h"
#endif

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace relume {

#ifdef RELUME_HAVE_CUDA
class Event {
 public:
  Event() { cuda::check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(Device device) { cuda::check(cudaEventRecord(event_, cuda::stream(device)), "cudaEventRecord"); }
  double seconds_until(const Event& later) const {
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, event_, later.event_), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};
#endif

// Adds up what happens between start() and stop(). On a GPU neither waits, so that calls queue up as in a training step.
class Stopwatch {
 public:
  explicit Stopwatch(Device device) : device_(device) {}

  void start() {
#ifdef RELUME_HAVE_CUDA
    if (device_.kind == DeviceKind::cuda) return spans_.emplace_back(std::make_unique<Span>())->first.record(device_);
#endif
    started_ = Clock::now();
  }
  void stop() {
#ifdef RELUME_HAVE_CUDA
    if (device_.kind == DeviceKind::cuda) return spans_.back()->second.record(device_);
#endif
    sum_ += std::chrono::duration<double>(Clock::now() - started_).count();
  }
  // The sum since the last call of it; waits for the device.
  double seconds() {
#ifdef RELUME_HAVE_CUDA
    if (device_.kind == DeviceKind::cuda) cuda::wait_for(cuda::stream(device_));
    for (const auto& span : spans_) sum_ += span->first.seconds_until(span->second);
    spans_.clear();
#endif
    return std::exchange(sum_, 0);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Device device_;
  Clock::time_point started_;
  double sum_ = 0;
#ifdef RELUME_HAVE_CUDA
  using Span = std::pair<Event, Event>;
  std::vector<std::unique_ptr<Span>> spans_;
#endif
};

}  // namespace relume
