// The memory of tensors on a device, and memory apart for what must find it at the same addresses again.
#pragma once

#include <cstdint>
#include <memory>

#include "tensor/core/device.h"

namespace relume::cuda {

// Makes cudaMallocAsync's pools the memory of tensors on their devices. Called by the backend's registration; nothing is asked
// of CUDA before the first allocation.
void register_allocators();

// Memory of a call that is done again at the same addresses: a CUDA graph holds addresses, so what it works in must neither
// move nor be given to others. The first time is recorded: the memory is anybody's, and it is noted when the call takes and
// releases how much. For the second time all of it gets places in one piece of memory, in which blocks that are never there at
// once share addresses; the call must take and release the same in the same order, and nothing is asked of CUDA. That memory
// counts as in use, and goes back with the arena, or with the last tensor that holds a part of it.
class Arena {
 public:
  enum class Mode { record, repeat };

  explicit Arena(Device device);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // While one lives, memory for this thread's tensors of the device comes from the arena.
  class Scope {
   public:
    Scope(Arena& arena, Mode mode);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  // Whether the call that was repeated took and released all that was recorded, in that order.
  bool repeated_all() const;
  // Whether memory that is not of the arena was released while allocations were repeated: it goes back behind the scope.
  bool others_were_released() const;

  struct Blocks;  // the allocator's

 private:
  std::shared_ptr<Blocks> blocks_;
};

}  // namespace relume::cuda
