// Degradation recipes: from a clean picture to the low-quality one a restorer gets. configs/degrade holds the field's presets.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "configs/reader.h"
#include "degrade/draws.h"
#include "degrade/second_order.h"
#include "degrade/shuffled.h"
#include "degrade/steps.h"
#include "degrade/wide.h"
#include "tensor/core/tensor.h"

namespace relume {

struct Recipe {
  std::string kind = "wide";
  WideRecipe wide;
  SecondOrderRecipe second_order;
  ShuffledRecipe shuffled;

  void fields(auto&& v) {
    v("kind", kind, OneOf{{"wide", "second_order", "shuffled"}}, "which of the recipes below");
    v("wide", wide, "one pass, wide ranges (CodeFormer, DiffBIR v1 and v2)");
    v("second_order", second_order, "two passes (Real-ESRGAN, DiffBIR v2.1)");
    v("shuffled", shuffled, "random order (BSRGAN)");
  }
};

// What a recipe decided for a batch.
struct Degradation {
  bool sharpen_target = false;  // the pictures are sharpened first (D2.7), and are to be restored so
  std::vector<Step> steps;
};

// Decides everything for `count` pictures of one size. With one picture every choice is its own. With more, the second-order
// recipe shares what its reference shares within a batch (D4.2); the other recipes have no such form and throw.
Degradation draw_degradation(const Recipe& recipe, int64_t count, int64_t height, int64_t width, Draws& draws);

// A training pair, both f32 RGB of one rank; gt is what the network is to give.
struct Degraded {
  Tensor lq, gt;
};

Degraded apply_degradation(const Degradation& degradation, const Tensor& pictures);

// The whole recipe on clean pictures, f32 RGB [H, W, 3] or [N, H, W, 3], values in [0, 1]. Any device that has the slots, any
// number of threads: the result depends on the draws alone.
Degraded degrade(const Tensor& pictures, const Recipe& recipe, Draws& draws);

// A batch [N, H, W, 3] whose pictures have draws of their own, one each: every picture as it would be alone. The recipe must
// give results of one size.
Degraded degrade(const Tensor& batch, const Recipe& recipe, std::span<Draws* const> draws);

}  // namespace relume
