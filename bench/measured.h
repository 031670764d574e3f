// What a contender of compare_torch.py says of itself: memory, time, and a number that shows what was computed.
#pragma once

#include "layers/module.h"

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

namespace relume {

// VmRSS (resident now) or VmHWM (peak since the last reset) of this process.
inline int64_t process_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return std::stoll(line.substr(field.size() + 1)) * 1024;
  throw Error("/proc/self/status has no line " + field);
}

// The peak of the memory that the device counts: on the CPU the whole process's, on a GPU what tensors took.
inline int64_t peak_bytes(Device device) {
  return device.kind == DeviceKind::cpu ? process_bytes("VmHWM") : allocator(device).peak_bytes();
}

inline void reset_peak(Device device) {
  if (device.kind != DeviceKind::cpu) return allocator(device).reset_peak();
  std::ofstream refs("/proc/self/clear_refs");
  refs << 5 << std::flush;
  if (!refs) throw Error("cannot reset the peak of resident memory in /proc/self/clear_refs");
}

inline int64_t bytes_of(const std::vector<NamedTensor>& tensors) {
  int64_t bytes = 0;
  for (const NamedTensor& t : tensors) bytes += t.tensor.numel() * size_of(t.tensor.dtype());
  return bytes;
}

// The sum of squares about the mean: what both sides must agree on.
inline double variation(const Tensor& t) {
  const float* v = t.data<float>();
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < t.numel(); ++i) sum += v[i];
  const double mean = sum / double(t.numel());
  for (int64_t i = 0; i < t.numel(); ++i) squares += (v[i] - mean) * (v[i] - mean);
  return squares;
}

// How long f takes, what it asks of the device included: a device works in order, so a number read behind it waits for all.
template <class F> double seconds_of(Device device, F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  if (device.kind != DeviceKind::cpu) Tensor::zeros({1}, DType::f32, device).item();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace relume
