// Where a tensor lives.
#pragma once

#include <cstdint>
#include <ostream>

namespace relume {

enum class DeviceKind : uint8_t { cpu, cuda };
inline constexpr int device_kinds = 2, most_devices = 64;  // most_devices: of a kind

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;  // of the GPU; 0 on the CPU
  bool operator==(const Device&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, Device d) {
  if (d.kind == DeviceKind::cpu) return out << "cpu";
  return out << "cuda:" << d.index;
}

}  // namespace relume
