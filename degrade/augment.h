// What is drawn for a training sample before it is degraded (degradation spec D4.1): its caption and its orientation.
#pragma once

#include <string>

#include "configs/reader.h"
#include "degrade/draws.h"
#include "tensor/core/tensor.h"

namespace relume {

struct AugmentOptions {
  double long_caption_prob = 0.2, empty_caption_prob = 0.2;
  bool flip = false, rotate = false;

  void fields(auto&& v) {
    v("long_caption_prob", long_caption_prob, Range{0, 1}, "how often the long caption is taken, else the short one");
    v("empty_caption_prob", empty_caption_prob, Range{0, 1}, "how often the caption is left out after that");
    v("flip", flip, "mirror half of the pictures left to right");
    v("rotate", rotate, "turn pictures: mirror half of them upside down, and transpose half of them");
  }
};

struct Augmentation {
  bool long_caption = false, empty_caption = false;
  bool mirror = false, upside_down = false, transpose = false;

  // The caption to train with.
  const std::string& caption(const std::string& short_text, const std::string& long_text) const;
};

// Draws caption.long, caption.empty, with `flip` mirror, with `rotate` upside_down and transpose, in this order.
Augmentation draw_augmentation(const AugmentOptions& options, Draws& draws);

// [H, W, C] of any dtype mirrored, turned upside down, transposed, in this order: [H, W, C] or, transposed, [W, H, C].
Tensor oriented(const Tensor& picture, const Augmentation& augmentation);

}  // namespace relume
