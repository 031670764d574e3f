// BSRGAN's recipe (baselines spec, "BSRGAN training"): blurs, two downsamplings, noise and JPEG in random order, then a last
// JPEG. Its camera noise needs a model of its own and is left out, as the reference does without one.
#pragma once

#include "configs/reader.h"
#include "degrade/ranges.h"
#include "degrade/steps.h"

namespace relume {

struct ShuffledRecipe {
  int64_t scale = 4;
  double halve_prob = 0.25, resize_prob = 0.75, jpeg_prob = 0.9;
  DrawRange noise_range{2, 25}, jpeg_range{30, 95};
  bool resize_back = true;

  void fields(auto&& v) {
    v("scale", scale, Range{1, 16}, "how many times smaller the result is");
    v("halve_prob", halve_prob, Range{0, 1}, "at scale 4: how often the picture is halved first");
    v("resize_prob", resize_prob, Range{0, 1}, "how often the first downsampling is a resize, else a shifted Gaussian");
    v("noise_range", noise_range, Range{0, 255}, "least and greatest sigma of the noise in grey levels of 255, whole numbers");
    v("jpeg_prob", jpeg_prob, Range{0, 1}, "how often there is a JPEG among the shuffled steps");
    v("jpeg_range", jpeg_range, Range{1, 100}, "least and greatest JPEG quality, whole numbers");
    v("resize_back", resize_back, "enlarge the result to the size it came from, bicubic");
  }
  void validate() const;
};

// Draws halve and, with it, halve.method; order: the shuffle; then what each step of that order needs, under its own name.
std::vector<Step> draw_shuffled(const ShuffledRecipe& recipe, int64_t height, int64_t width, Draws& draws);

}  // namespace relume
