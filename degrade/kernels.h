// Blur kernels (degradation spec D2.1), in double precision; filter.h applies them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "degrade/draws.h"

namespace relume {

// A square kernel whose weights sum to one. x runs along columns, y down the rows.
struct BlurKernel {
  int64_t size = 0;             // odd
  std::vector<double> weights;  // [size, size], row-major
  std::vector<double> line;     // [size]; not empty only where weights[y][x] = line[y] * line[x] by construction
  std::string label;            // for people: "aniso 21, 2.9 x 0.7 px at 35 deg"
};

// The quadratic form q = p' C^-1 p of a bivariate kernel, C having standard deviations sigma_x and sigma_y (pixels) along axes
// turned by theta (radians); an isotropic one uses sigma_x alone.
struct BlurSpread {
  double sigma_x = 1, sigma_y = 1, theta = 0;
  bool isotropic = true;
};
enum class BlurProfile {
  gaussian,     // exp(-q / 2)
  generalized,  // exp(-q^beta / 2)
  plateau,      // 1 / (1 + q^beta)
};
// Throws unless size is odd and the sigmas (and beta, where it is used) are positive and finite.
BlurKernel bivariate_kernel(BlurProfile profile, int64_t size, const BlurSpread& spread, double beta = 1);

// The circular low-pass with cut-off frequency `cutoff` in (0, pi], cutoff * J1(cutoff * r) / (2 pi r).
BlurKernel sinc_kernel(int64_t size, double cutoff);

// The kernel that changes nothing.
BlurKernel pulse_kernel(int64_t size);

// The same kernel in the middle of a larger one (odd size), zeros around.
BlurKernel padded(const BlurKernel& kernel, int64_t size);

// What draw_blur_kernel() draws from.
struct BlurKernelOptions {
  int64_t size = 21;
  std::vector<std::string> kinds{"iso", "aniso"};  // of blur_kernel_kinds()
  std::vector<double> weights{0.5, 0.5};           // relative probability of each kind
  std::array<double, 2> sigma{0.2, 3};             // of sigma_x and sigma_y
  std::array<double, 2> beta_generalized{0.5, 8};  // on both sides of 1, each side with probability one half
  std::array<double, 2> beta_plateau{0.5, 8};      // the same
  // Every tap times a number from this range, then normalised again; plateau kinds have none.
  std::optional<std::array<double, 2>> noise;
};

// iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso.
const std::vector<std::string>& blur_kernel_kinds();

// Throws an InputError naming the unknown kind, or saying that the weights do not fit the kinds.
void check_blur_kernel_options(const BlurKernelOptions& options);

// A random kernel. Draws <stage>.kernel, <stage>.sigma_x, for anisotropic kinds <stage>.sigma_y and <stage>.theta, for
// generalized and plateau kinds <stage>.beta_side and <stage>.beta, with `noise` the field <stage>.kernel_noise, in this order.
BlurKernel draw_blur_kernel(const BlurKernelOptions& options, Draws& draws, std::string_view stage);

}  // namespace relume
