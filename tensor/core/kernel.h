// Slots: what a device must provide. Each header of tensor/kernels declares its slots as inline Kernel objects; a backend fills
// them by plain assignment in its register.cpp (no self-registering globals: the linker may drop them).
#pragma once

#include <array>
#include <atomic>
#include <utility>

#include "base/error.h"
#include "tensor/core/tensor.h"

namespace relume {

enum class Operands { on_device, anywhere };  // where the tensors lie that a kernel is given

template <class Fn> class Kernel;

template <class Result, class... Args> class Kernel<Result(Args...)> {
 public:
  using Function = Result(Args...);

  // The function of one device. Error where a tensor lies elsewhere: a kernel that touches another device's memory ends the
  // process.
  class OnDevice {
   public:
    OnDevice(const Kernel& kernel, Device device, Function* function) : kernel_(kernel), device_(device), function_(function) {}
    Result operator()(Args... args) const {
      if (kernel_.operands_ == Operands::on_device) (check(args), ...);
      return function_(std::forward<Args>(args)...);
    }

   private:
    template <class Arg> void check(const Arg&) const {}
    void check(const Tensor& tensor) const {
      RELUME_CHECK(!tensor || tensor.device() == device_, kernel_.name_, ": ", tensor, " is given to ", device_,
                   "; move it there with to()");
    }

    const Kernel& kernel_;
    Device device_;
    Function* function_;
  };

  explicit constexpr Kernel(const char* name, Operands operands = Operands::on_device) : name_(name), operands_(operands) {}
  const char* name() const { return name_; }
  bool has(DeviceKind kind) const { return table_[int(kind)] != nullptr; }
  void set(DeviceKind kind, Function* function) { table_[int(kind)] = function; }
  OnDevice on(Device device) const {
    Function* function = table_[int(device.kind)];
    RELUME_CHECK(function, name_, ": no kernel for ", device, " in this build; move the tensor to the cpu");
    calls_.fetch_add(1, std::memory_order_relaxed);
    return {*this, device, function};
  }
  uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }  // how often it was asked for: the coverage test

 private:
  const char* name_;
  Operands operands_;
  std::array<Function*, device_kinds> table_{};
  mutable std::atomic<uint64_t> calls_{0};
};

}  // namespace relume
