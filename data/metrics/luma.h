// The brightness that published tables of restoration measure.
#pragma once

namespace relume {

// Y of BT.601 in its studio range, 16..235, of red, green and blue in [0, 1]; not rounded.
inline double luma(double r, double g, double b) { return 16 + 65.481 * r + 128.553 * g + 24.966 * b; }

}  // namespace relume
