// The second-order recipe (Real-ESRGAN, degradation spec D4): two rounds of blur, resize, noise and simulated JPEG, then the
// way back to the size it came from.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "degrade/ranges.h"
#include "degrade/steps.h"

namespace relume {

// One of the recipe's two kernels (D4.1).
struct SecondOrderBlur {
  std::vector<std::string> kernel_list{blur_kernel_kinds()};
  std::vector<double> kernel_prob{0.45, 0.25, 0.12, 0.03, 0.12, 0.03};
  double sinc_prob = 0.1;
  DrawRange sigma{0.2, 3}, betag_range{0.5, 4}, betap_range{1, 2};

  void fields(auto&& v) {
    v("kernel_list", kernel_list, OneOf{blur_kernel_kinds()}, "kinds of blur to choose from");
    v("kernel_prob", kernel_prob, Range{0, 1e6}, "relative probability of each kind");
    v("sinc_prob", sinc_prob, Range{0, 1}, "how often the kernel is a circular low-pass instead");
    v("sigma", sigma, Range{0.01, 1000}, "least and greatest standard deviation of the blur in pixels");
    v("betag_range", betag_range, Range{0.01, 100}, "least and greatest exponent of generalized kernels, around 1");
    v("betap_range", betap_range, Range{0.01, 100}, "least and greatest exponent of plateau kernels, around 1");
  }
  void validate() const;
};

// Resize, noise and JPEG of one round (D4.2).
struct SecondOrderRound {
  std::vector<double> resize_prob{0.2, 0.7, 0.1};
  DrawRange resize_range{0.15, 1.5};
  double gaussian_noise_prob = 0.5, gray_noise_prob = 0.4;
  DrawRange noise_range{1, 30}, poisson_scale_range{0.05, 3}, jpeg_range{30, 95};

  void fields(auto&& v) {
    v("resize_prob", resize_prob, Range{0, 1e6}, "relative probability of enlarging, reducing, keeping the size");
    v("resize_range", resize_range, Range{0.01, 100}, "least and greatest factor of the size, around 1");
    v("gaussian_noise_prob", gaussian_noise_prob, Range{0, 1}, "how often the noise is Gaussian, else Poisson");
    v("gray_noise_prob", gray_noise_prob, Range{0, 1}, "how often the noise is the same for all channels");
    v("noise_range", noise_range, Range{0, 255}, "least and greatest sigma of Gaussian noise in grey levels of 255");
    v("poisson_scale_range", poisson_scale_range, Range{0, 100}, "least and greatest factor of Poisson noise");
    v("jpeg_range", jpeg_range, Range{1, 100}, "least and greatest quality of the simulated JPEG");
  }
  void validate() const;
};

// The defaults are D4's, with sharpened targets as in v2.1.
struct SecondOrderRecipe {
  bool sharpen_target = true;
  SecondOrderBlur blur, blur2{.sigma = {0.2, 1.5}};
  double final_sinc_prob = 0.8;
  SecondOrderRound round, round2{.resize_prob = {0.3, 0.4, 0.3},
                                 .resize_range = {0.3, 1.2},
                                 .noise_range = {1, 25},
                                 .poisson_scale_range = {0.05, 2.5}};
  double second_blur_prob = 0.8;
  std::vector<double> stage2_scale{4};
  bool transposed_jpeg_table = true;
  bool resize_back = true;

  void fields(auto&& v) {
    v("sharpen_target", sharpen_target, "sharpen the clean picture first; the sharpened one is what is to be restored");
    v("blur", blur, "the first kernel");
    v("blur2", blur2, "the second kernel");
    v("second_blur_prob", second_blur_prob, Range{0, 1}, "how often there is a second blur");
    v("final_sinc_prob", final_sinc_prob, Range{0, 1}, "how often there is a last circular low-pass");
    v("round", round, "first resize, noise and JPEG");
    v("round2", round2, "second resize, noise and JPEG");
    v("stage2_scale", stage2_scale, Range{1, 64}, "how many times smaller the result is; two numbers: drawn between them");
    v("transposed_jpeg_table", transposed_jpeg_table, "quantise luma by the transposed table, as the reference does");
    v("resize_back", resize_back, "enlarge the result to the size it came from");
  }
  void validate() const;
};

struct SecondOrderKernels {
  BlurKernel first, second, last;  // all of 21 x 21
};
// Draws for each of blur1 and blur2: .size, .sinc, then .cutoff or the draws of draw_blur_kernel(); then sinc, with it
// sinc.size and sinc.cutoff.
SecondOrderKernels draw_second_order_kernels(const SecondOrderRecipe& recipe, Draws& draws);

// Draws the rest for a batch of kernels.size() pictures, which share what the reference shares within a batch (directions,
// scales and modes of the resizes, kinds of noise, the second blur, the order of the end): with one picture, nothing is shared.
// Draws for each round: resize1.direction, .scale, .mode, noise1.kind, .sigma or .scale and .grey of each picture, .plane if
// one is grey, .colour, jpeg1.quality of each; between the rounds second_blur and, if it has two ends, stage2_scale; at the end
// end.resize_first and back.mode before the quality.
std::vector<Step> draw_second_order(const SecondOrderRecipe& recipe, const std::vector<SecondOrderKernels>& kernels,
                                    int64_t height, int64_t width, Draws& draws);

}  // namespace relume
