// Noise (degradation spec D2.3, D2.4). Pictures are f32 [H, W, C] or [N, H, W, C], values in [0, 1].
#pragma once

#include <array>
#include <vector>

#include "degrade/draws.h"
#include "tensor/core/tensor.h"

namespace relume {

// Where the random numbers of a batch come from: normal deviates for Gaussian noise, counts for Poisson noise, given as f32
// [N, H, W, C] (colour) and [N, H, W, 1] (plane), for one picture also without N; or seeds, from which picture n takes the
// stream field_key(seed) of sample n.
struct NoiseFields {
  NoiseField colour;          // of pictures whose channels have noise of their own
  NoiseField plane;           // of grey ones: one plane for all channels
  bool shared_plane = false;  // all grey pictures have the plane of picture 0; given ones are [H, W, 1]
};

enum class NoiseRange {
  clipped,  // to [0, 1]
  levels,   // clipped and rounded to multiples of 1/255
  open,     // as it comes
};
struct NoiseOptions {
  NoiseRange range = NoiseRange::clipped;
  std::array<float, 3> luma_weights{0.2989f, 0.587f, 0.114f};  // of grey Poisson noise
};

// pictures + field * sigma / 255, sigma of each picture in 8-bit units. `grey` says for each picture which field it has.
Tensor add_gaussian_noise(const Tensor& pictures, const std::vector<double>& sigma, const std::vector<bool>& grey,
                          const NoiseFields& fields, const NoiseOptions& options = {});

// pictures + factor * (Poisson(v x8) / v - x8): x8 the picture (grey: its luma, of three channels) in 8-bit levels, v the power
// of two at or above the number of its distinct levels.
Tensor add_poisson_noise(const Tensor& pictures, const std::vector<double>& factor, const std::vector<bool>& grey,
                         const NoiseFields& fields, const NoiseOptions& options = {});

// clamp(round(255 x), 0, 255) / 255, half to even.
Tensor round_to_levels(const Tensor& pictures);
Tensor clamp_to_unit(const Tensor& pictures);  // to [0, 1]

}  // namespace relume
