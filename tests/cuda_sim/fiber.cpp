#include "tests/cuda_sim/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a call must keep on the running stack, and its pointer in *from; continues where `to` was saved.
extern "C" void relume_sim_switch(void** from, void* to);
asm(R"(
.text
.globl relume_sim_switch
.type relume_sim_switch, @function
relume_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size relume_sim_switch, .-relume_sim_switch
.section .note.GNU-stack,"",@progbits
.text
)");

namespace relume::sim {
namespace {

Fiber* entering = nullptr;  // handed to enter(), which has no arguments

void leave_for(void** fake_stack, const void* stack, size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#else
  void(fake_stack), void(stack), void(bytes);
#endif
}
void arrived(void* fake_stack, const void** left_stack, size_t* left_bytes) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, left_stack, left_bytes);
#else
  void(fake_stack), void(left_stack), void(left_bytes);
#endif
}

}  // namespace

Fiber::Fiber(size_t stack_bytes) {
  const auto page = size_t(sysconf(_SC_PAGESIZE));
  stack_bytes_ = (stack_bytes + page - 1) / page * page + page;
  stack_ = mmap(nullptr, stack_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
  mprotect(stack_, page, PROT_NONE);
}

Fiber::~Fiber() { munmap(stack_, stack_bytes_); }

void Fiber::start(std::function<void()> body) {
  body_ = std::move(body);
  finished_ = false;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack_, stack_bytes_);  // frames that were dropped leave their marks
#endif
  // What relume_sim_switch() finds: six registers, then the address it returns to, with the stack aligned as after a call.
  auto* top = reinterpret_cast<uintptr_t*>(static_cast<char*>(stack_) + stack_bytes_) - 1;
  *top-- = 0;
  *top = reinterpret_cast<uintptr_t>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) *--top = 0;
  fiber_pointer_ = top;
  fiber_fake_stack_ = nullptr;
}

void Fiber::resume() {
  entering = this;
  leave_for(&resumer_fake_stack_, stack_, stack_bytes_);
  relume_sim_switch(&resumer_pointer_, fiber_pointer_);
  arrived(resumer_fake_stack_, nullptr, nullptr);
}

void Fiber::pause() {
  leave_for(finished_ ? nullptr : &fiber_fake_stack_, resumer_stack_, resumer_stack_bytes_);
  relume_sim_switch(&fiber_pointer_, resumer_pointer_);
  arrived(fiber_fake_stack_, &resumer_stack_, &resumer_stack_bytes_);
}

void Fiber::enter() {
  Fiber* const self = entering;
  arrived(nullptr, &self->resumer_stack_, &self->resumer_stack_bytes_);
  self->run();
}

void Fiber::run() {
  body_();
  finished_ = true;
  pause();
  std::abort();  // a finished fibre is never resumed
}

}  // namespace relume::sim
