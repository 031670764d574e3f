// The model of pristine pictures that NIQE compares with, as BasicSR 1.4.2 ships it (spec metrics 4).
#pragma once

#include <array>

namespace relume {

inline constexpr int niqe_features = 36;  // of a block: 18 at each of two scales

extern const std::array<double, niqe_features> niqe_pristine_mean;
// Upper triangle, row by row.
extern const std::array<double, niqe_features*(niqe_features + 1) / 2> niqe_pristine_covariance;

}  // namespace relume
