// What stage two takes in memory, told before its networks are read.
#pragma once

#include <algorithm>

#include "infer/stage_two_config.h"

namespace relume {

struct RefineCost {
  double bytes_per_pixel = 0, fixed_bytes = 0;  // of the denoiser, by the pixels of the picture that it has at once
  double autoencoder_bytes_per_pixel = 0, autoencoder_fixed_bytes = 0;  // by those of the picture
  double guidance_bytes_per_pixel = 0, guidance_fixed_bytes = 0;  // likewise: the decoder's gradient, where it is asked for

  double denoiser_bytes(double pixels) const { return fixed_bytes + bytes_per_pixel * pixels; }
  // Of the autoencoder, forward alone or with guidance's gradient.
  double autoencoder_bytes(double pixels) const {
    return std::max(autoencoder_fixed_bytes + autoencoder_bytes_per_pixel * pixels,
                    guidance_fixed_bytes + guidance_bytes_per_pixel * pixels);
  }
};

// Runs U-Net and control network of the same structure with few channels on a small map, and scales the peak of their tensors
// to the channels of the configuration, by which every map grows as it does with the picture. The autoencoder goes through its
// layers in strips (models/autoencoder_strips.h): it holds two maps of the picture's size and a strip. Where guidance looks at
// pictures, the gradient of a narrow decoder is measured likewise.
RefineCost measure_refine_cost(const StageTwoConfig& config, Device device, DType compute);

}  // namespace relume
