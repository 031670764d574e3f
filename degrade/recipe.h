// Degradation recipes: from a clean picture to the low-quality one a restorer gets.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "degrade/draws.h"
#include "degrade/kernels.h"
#include "tensor/core/tensor.h"

namespace relume {

// The wide one-pass recipe ("CodeFormer-style", degradation spec D3): blur, downsample, Gaussian noise, JPEG, bilinear back to
// the size it came from. Every picture gets all of them, with random strengths. The defaults are the general column of D3.
struct WideRecipe {
  int64_t blur_kernel_size = 41;
  std::vector<std::string> kernel_list{"iso", "aniso"};
  std::vector<double> kernel_prob{0.5, 0.5};
  std::array<double, 2> blur_sigma{0.1, 12}, betag_range{0.5, 8}, betap_range{0.5, 8};
  std::array<double, 2> downsample_range{1, 12}, noise_range{0, 15}, jpeg_range{30, 100};

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
  }
  void validate() const;
};

// What the recipe drew for one picture.
struct WideDraw {
  BlurKernel kernel;
  int64_t height = 0, width = 0;              // of the picture
  int64_t small_height = 0, small_width = 0;  // between the two resizes
  double noise_sigma = 0;                     // in grey levels of 255
  Tensor noise;                               // f32 [small_height, small_width, 3], N(0, 1)
  int jpeg_quality = 0;
};

// Draws blur.kernel and its parameters, downsample, noise.sigma, noise.grey (unused here: the recipe's noise is coloured, but
// its reference draws it), noise.field, jpeg.quality, in this order. Throws when a side would shrink below one pixel.
WideDraw draw_wide(const WideRecipe& recipe, int64_t height, int64_t width, Draws& draws);

// The stages in order; each is a pure function of the picture it gets, f32 RGB [H, W, 3], and the draw.
enum class WideStage { blur, downsample, noise, jpeg, back };
inline constexpr std::array wide_stages{WideStage::blur, WideStage::downsample, WideStage::noise, WideStage::jpeg,
                                        WideStage::back};
Tensor apply(WideStage stage, const Tensor& image, const WideDraw& draw);

// A training pair, both f32 RGB [H, W, 3]; gt is what the network is to give (a recipe may sharpen it).
struct Degraded {
  Tensor lq, gt;
};
// The whole recipe on gt, values in [0, 1].
Degraded degrade_wide(const Tensor& gt, const WideRecipe& recipe, Draws& draws);

}  // namespace relume
