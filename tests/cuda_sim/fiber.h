// Fibres: functions that give up the processor where they like and are taken up again there. One operating-system thread runs
// all of them; a switch costs a few nanoseconds. The address sanitizer is told of every switch.
#pragma once

#include <cstddef>
#include <functional>

namespace relume::sim {

class Fiber {
 public:
  explicit Fiber(size_t stack_bytes);  // rounded up to whole pages, with a guard page below
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes `body` what the next resume() begins. Whatever the fibre was in the middle of is dropped, not unwound.
  void start(std::function<void()> body);
  // Runs the fibre until it pauses or its body returns; called outside of fibres.
  void resume();
  bool finished() const { return finished_; }
  // Back to who resumed the fibre; called inside of it.
  void pause();

 private:
  static void enter();  // the first frame of every fibre
  void run();

  void* stack_;
  size_t stack_bytes_;
  void *fiber_pointer_ = nullptr, *resumer_pointer_ = nullptr;  // saved stack pointers
  void* resumer_fake_stack_ = nullptr;                          // the sanitizer's own state of the two sides
  void* fiber_fake_stack_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_bytes_ = 0;
  std::function<void()> body_;
  bool finished_ = true;
};

}  // namespace relume::sim
