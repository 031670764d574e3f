// The wide one-pass recipe ("CodeFormer-style", degradation spec D3): blur, downsample, Gaussian noise, JPEG, bilinear back to
// the size it came from. Every picture gets all of them, with random strengths.
#pragma once

#include <string>
#include <vector>

#include "configs/reader.h"
#include "degrade/ranges.h"
#include "degrade/steps.h"

namespace relume {

// The defaults are the general column of D3.
struct WideRecipe {
  int64_t blur_kernel_size = 41;
  std::vector<std::string> kernel_list{"iso", "aniso"};
  std::vector<double> kernel_prob{0.5, 0.5};
  DrawRange blur_sigma{0.1, 12}, betag_range{0.5, 8}, betap_range{0.5, 8};
  DrawRange downsample_range{1, 12}, noise_range{0, 15}, jpeg_range{30, 100};
  bool real_jpeg = true;

  void fields(auto&& v) {
    v("blur_kernel_size", blur_kernel_size, Range{1, 1023}, "side of the blur kernel in pixels, odd");
    v("kernel_list", kernel_list, OneOf{blur_kernel_kinds()}, "kinds of blur to choose from");
    v("kernel_prob", kernel_prob, Range{0, 1e6}, "relative probability of each kind");
    v("blur_sigma", blur_sigma, Range{0.01, 1000}, "least and greatest standard deviation of the blur in pixels");
    v("betag_range", betag_range, Range{0.01, 100}, "least and greatest exponent of generalized kernels, around 1");
    v("betap_range", betap_range, Range{0.01, 100}, "least and greatest exponent of plateau kernels, around 1");
    v("downsample_range", downsample_range, Range{0.05, 1000}, "least and greatest factor of size reduction; below 1 enlarges");
    v("noise_range", noise_range, Range{0, 255}, "least and greatest standard deviation of the noise in grey levels of 255");
    v("jpeg_range", jpeg_range, Range{1, 100}, "least and greatest JPEG quality");
    v("real_jpeg", real_jpeg, "JPEG by the codec, as the reference has it; off: simulated, on floats and on any device");
  }
  void validate() const;
};

// Draws for one picture blur.kernel and its parameters, downsample, noise.sigma, noise.grey (unused: the recipe's noise is
// coloured, but its reference draws it), noise.field, jpeg.quality, in this order. Throws when a side would shrink below one
// pixel.
std::vector<Step> draw_wide(const WideRecipe& recipe, int64_t height, int64_t width, Draws& draws);

}  // namespace relume
