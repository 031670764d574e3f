// Slots: what a device must provide. Each header of tensor/kernels declares its slots as inline Kernel objects; a backend fills
// them by plain assignment in its register.cpp (no self-registering globals: the linker may drop them).
#pragma once

#include <array>
#include <atomic>

#include "base/error.h"
#include "tensor/core/device.h"

namespace relume {

template <class Fn> class Kernel {
 public:
  explicit constexpr Kernel(const char* name) : name_(name) {}
  const char* name() const { return name_; }
  bool has(DeviceKind kind) const { return table_[int(kind)] != nullptr; }
  void set(DeviceKind kind, Fn* function) { table_[int(kind)] = function; }
  Fn* on(Device device) const {
    Fn* function = table_[int(device.kind)];
    RELUME_CHECK(function, name_, ": no kernel for ", device, " in this build; move the tensor to the cpu");
    calls_.fetch_add(1, std::memory_order_relaxed);
    return function;
  }
  uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }  // how often it was asked for: the coverage test

 private:
  const char* name_;
  std::array<Fn*, device_kinds> table_{};
  mutable std::atomic<uint64_t> calls_{0};
};

}  // namespace relume
