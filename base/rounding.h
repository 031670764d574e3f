// Rounding of whole numbers.
#pragma once

#include <cstdint>

namespace relume {

// The least multiple that is not below n; n >= 0, multiple >= 1.
constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace relume
