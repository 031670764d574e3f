// What recipes check about their ranges.
#pragma once

#include <array>

#include "base/error.h"
#include "degrade/draws.h"

namespace relume {

using DrawRange = std::array<double, 2>;  // least and greatest

inline void check_ordered(const DrawRange& range, const char* name) {
  RELUME_CHECK(range[0] <= range[1], name, ": [", range[0], ", ", range[1], "] ends below its beginning");
}
inline void check_around_one(const DrawRange& range, const char* name) {
  RELUME_CHECK(range[0] <= 1 && range[1] >= 1, name, ": [", range[0], ", ", range[1], "] does not contain 1");
}
inline double draw_within(const DrawRange& range, Draws& draws, const char* name) {
  return draws.uniform(range[0], range[1], name);
}

}  // namespace relume
