// NIQE, the distance of a picture's block statistics from those of pristine pictures (spec metrics 4): smaller is better.
// Intermediate pictures are float32 as in BasicSR, whose scores these are to 5e-4: it matters where a picture is flat.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tensor/core/tensor.h"

namespace relume {

enum class NiqeChannel {
  luma,  // Y of BT.601 in its studio range, what published tables use
  grey,  // 0.299 R + 0.587 G + 0.114 B
};

struct NiqeOptions {
  NiqeChannel channel = NiqeChannel::luma;
  int64_t crop = 0;  // pixels left out at every border
};

// Of u8 [H, W, 3]. None for a picture with fewer than two blocks of 96x96 that are not flat.
std::optional<double> niqe(const Tensor& image, const NiqeOptions& options = {});

// Its steps. The channel, rounded half to even: u8 [H, W, 3] -> f32 [H, W, 1], 0..255.
Tensor niqe_channel(const Tensor& image, NiqeChannel channel);
// Half the size, not rounded: f32 [H, W, 1] -> [H / 2, W / 2, 1], both 0..255.
Tensor niqe_half(const Tensor& channel);
// The 18 features of each block of size x size pixels, row by row; borders are replicated around the whole picture. Of a flat
// block all but the shape parameters are NaN.
std::vector<std::array<double, 18>> niqe_block_features(const Tensor& channel, int64_t size);

}  // namespace relume
