// Where samplers take their noise from. Draws are numbered, so that every one follows from its number (design D5); a recorded
// course can be replayed with another source.
#pragma once

#include <functional>

#include "tensor/core/philox.h"
#include "tensor/core/tensor.h"

namespace relume {

// Draw number `draw` = 0, 1, ... of a course: independent N(0, 1) numbers, shaped and placed like its latents. Each sampler
// says which draws it takes; one that it does not need is not asked for.
using NoiseSource = std::function<Tensor(int64_t draw)>;

// N(0, 1) of `shape` [N, ...], f32 or f64: sample n is the stream `key` with sample key.sample + n, so that it does not depend
// on the batch it is computed in.
Tensor standard_normal(const Shape& shape, DType dtype, Device device, const RandomKey& key);

// standard_normal() with the draw as the key's step.
NoiseSource seeded_noise(const Shape& shape, DType dtype, Device device, uint64_t seed, uint32_t first_sample = 0);

}  // namespace relume
