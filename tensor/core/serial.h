// Threads that prepare data beside the computing ones must not start teams of threads of their own.
#pragma once

namespace relume {

inline bool& serial_thread_flag() {
  thread_local bool serial = false;
  return serial;
}
inline bool is_serial_thread() { return serial_thread_flag(); }
// Kernels called on this thread from now on run on it alone.
inline void make_thread_serial() { serial_thread_flag() = true; }

}  // namespace relume
