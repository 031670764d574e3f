// What a network costs in memory and time, found by running it on two small pictures: nothing here knows which network it is.
#pragma once

#include "infer/cleaner.h"

namespace relume {

struct NetworkCost {
  double bytes_per_pixel = 0, fixed_bytes = 0;  // of tensors while it runs: its input and result counted, its weights not
  double seconds_per_pixel = 0;                 // of its input
  double write_seconds_per_pixel = 0;           // of a result that is written as PNG
  int64_t weight_bytes = 0;                     // of tensors in use beside, the weights' packed copies among them
  int64_t process_bytes = 0;                    // of the rest of this process

  double bytes(double pixels) const { return fixed_bytes + bytes_per_pixel * pixels; }
};

// Runs the network at about 64 x 64 and 128 x 128 pixels, twice as large sides where more than four million are to come, and
// fits lines through the allocator's peaks and the times: a tenth of restoring 512 x 512 pixels, a fortieth of four million.
NetworkCost measure_cost(const Cleaner& cleaner, double pixels_to_come = 0);

}  // namespace relume
