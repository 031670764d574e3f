// What a network costs in memory and time, found by running it on two small pictures: nothing here knows which network it is.
#pragma once

#include "infer/cleaner.h"

namespace relume {

struct NetworkCost {
  double bytes_per_pixel = 0, fixed_bytes = 0;  // of tensors while it runs: its input and result counted, its weights not
  double seconds_per_pixel = 0;                 // of its input
  double write_seconds_per_pixel = 0;           // of a result that is written as PNG
  int64_t weight_bytes = 0;                     // of tensors in use beside, the weights' packed copies among them
  int64_t kept_bytes = 0;                       // of networks that are there beside it
  int64_t process_bytes = 0;                    // of the rest of this process, which a GPU's memory does not hold

  double bytes(double pixels) const { return fixed_bytes + bytes_per_pixel * pixels; }
};

// Runs the network on squares of about `side` and twice that, and fits lines through the peaks of its tensors on its device and
// the times.
// The kernels' scratch on the CPU hardly grows with a picture, so it is no part of the line (in a small picture it may outweigh
// the tensors, and hide that the peak of those lies elsewhere): it is added whole. That of a GPU's libraries grows as the
// tensors.
NetworkCost measure_cost(const Cleaner& cleaner, int64_t side);

}  // namespace relume
