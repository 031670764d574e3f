// The optimiser that a case's configuration describes.
#pragma once

#include <array>
#include <string>

#include "cli/parity/case.h"
#include "train/adamw.h"

namespace relume::parity {

inline AdamWOptions adamw_of(const Case& c) {
  const auto& optimizer = c.config().at("optimizer");
  RELUME_CHECK(c.option_in<std::string>(optimizer, "type") == "AdamW", c.name(), ": unknown optimiser");
  const auto betas = c.option_in<std::array<double, 2>>(optimizer, "betas");
  return {.lr = c.option_in<double>(optimizer, "lr"),
          .beta1 = betas[0],
          .beta2 = betas[1],
          .eps = c.option_in<double>(optimizer, "eps"),
          .weight_decay = c.option_in<double>(optimizer, "weight_decay")};
}

}  // namespace relume::parity
