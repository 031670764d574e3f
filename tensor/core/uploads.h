// Batches on their way from the host to the device that computes with them.
#pragma once

#include <memory>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

// Copies of host tensors on a device (the slot kernels::uploads makes one), made behind what the device computes: begin() the
// next batch before computing with the last one taken. Batches are taken in the order in which they were begun. For one thread.
class Uploads {
 public:
  static constexpr int most_begun = 2;
  virtual ~Uploads() = default;

  // Begins to copy dense tensors of the CPU, which nobody changes any more. At most `most_begun` batches may be begun and not
  // taken.
  virtual void begin(const std::vector<Tensor>& batch) = 0;
  // The oldest batch begun, on the device: what this thread computes from here on finds it there, and nobody waits.
  virtual std::vector<Tensor> take() = 0;
};

}  // namespace relume
