#include "infer/cost.h"

#include <algorithm>
#include <chrono>

#include "base/machine.h"
#include "base/rounding.h"
#include "data/convert.h"
#include "data/png.h"
#include "infer/taken_memory.h"

namespace relume {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Sample {
  TakenMemory taken;
  double pixels = 0, seconds = 0, write_seconds = 0;
};

// Waves with a little noise: something that compresses about as a photograph does.
Tensor test_picture(int64_t side) {
  Tensor x = Tensor::empty({1, side, side, 3});
  uint32_t state = 1;
  for (int64_t i = 0; i < x.numel(); ++i) {
    state = state * 1664525u + 1013904223u;
    const int64_t wave = (i / 3 % side + i / (3 * side)) % 128;
    x.data<float>()[i] = float(wave) / 160.0f + float(state >> 28) / 255.0f;
  }
  return x;
}

Sample sample(const Cleaner& cleaner, int64_t side) {
  Sample s{.pixels = double(side * side)};
  Tensor y;
  s.taken = memory_taken_by(cleaner.device, [&] {
    const Tensor x = test_picture(side);
    const Clock::time_point start = Clock::now();
    y = cleaner.network(x);
    s.seconds = seconds_since(start);
  });
  const Clock::time_point written = Clock::now();
  encode_png(to_u8_truncated(y.reshape({y.shape(1), y.shape(2), y.shape(3)})));
  s.write_seconds = seconds_since(written) / double(y.shape(1) * y.shape(2));
  return s;
}

}  // namespace

NetworkCost measure_cost(const Cleaner& cleaner, int64_t side) {
  const NoGrad no_grad;
  const int64_t step = round_up(side, cleaner.multiple);
  const int64_t small = cleaner.only_side > 0 ? cleaner.only_side : step, large = cleaner.only_side > 0 ? small : 2 * step;
  // Before what is measured: weights that are used again are packed, and kept so; a GPU captures what it repeats.
  for (int run = 0; run < (cleaner.device == Device{} ? 1 : 2); ++run) sample(cleaner, small);
  const Sample a = sample(cleaner, small), b = sample(cleaner, large);
  Allocator& pool = allocator(cleaner.device);
  pool.trim();
  const double slope =
      large > small ? std::max(0.0, (b.taken.bytes - a.taken.bytes) / (b.pixels - a.pixels)) : b.taken.bytes / b.pixels;
  return {.bytes_per_pixel = slope,
          .fixed_bytes = std::max(0.0, b.taken.bytes - slope * b.pixels) + b.taken.scratch_bytes,
          .seconds_per_pixel = b.seconds / b.pixels,
          .write_seconds_per_pixel = b.write_seconds,
          .weight_bytes = pool.bytes_in_use(),
          .process_bytes = cleaner.device == Device{} ? std::max<int64_t>(0, resident_bytes() - pool.bytes_in_use()) : 0};
}

}  // namespace relume
