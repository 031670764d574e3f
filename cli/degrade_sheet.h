// The contact sheet of a recipe: what it does to one picture, step by step, for several draws.
#pragma once

#include <cstdint>
#include <string>

#include "degrade/recipe.h"

namespace relume {

struct SheetOptions {
  std::string title, picture_name;
  uint64_t seed = 231;
  int rows = 5;
};

// An SVG with its pictures inside. Each row is one draw: the picture's middle, then the same place after every step, with what
// the step was. picture u8 [H, W, 3]; its middle of at most 512 x 512 is degraded.
std::string contact_sheet(const Tensor& picture, const Recipe& recipe, const SheetOptions& options);

}  // namespace relume
