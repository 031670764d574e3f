#include "degrade/kernels.h"

#include <math.h>  // j1

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace relume {
namespace {

struct Kind {
  BlurProfile profile;
  bool isotropic;
};
constexpr Kind kinds[] = {{BlurProfile::gaussian, true},     {BlurProfile::gaussian, false}, {BlurProfile::generalized, true},
                          {BlurProfile::generalized, false}, {BlurProfile::plateau, true},   {BlurProfile::plateau, false}};

Kind kind_named(const std::string& name) {
  const auto& names = blur_kernel_kinds();
  const auto at = std::find(names.begin(), names.end(), name);
  RELUME_CHECK(at != names.end(), "kernel_list: unknown kernel '", name, "'", did_you_mean(name, names), "; there are ",
               join(names, ", "));
  return kinds[at - names.begin()];
}

void check_size(int64_t size) {
  RELUME_CHECK(size >= 1 && size <= 1023 && size % 2 == 1, "blur kernel: size ", size,
               ", expected an odd number from 1 to 1023");
}

void check_positive(double value, const char* what) {
  RELUME_CHECK(value > 0 && std::isfinite(value), "blur kernel: ", what, " is ", value, ", expected a positive number");
}

void normalise(std::vector<double>& weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= sum;
}

// weight(x, y) at integer offsets from the centre, then divided by the sum.
template <class F> BlurKernel sampled(int64_t size, F&& weight) {
  BlurKernel kernel{.size = size, .weights = std::vector<double>(size_t(size * size))};
  const int64_t radius = size / 2;
  size_t i = 0;
  for (int64_t y = -radius; y <= radius; ++y)
    for (int64_t x = -radius; x <= radius; ++x) kernel.weights[i++] = weight(double(x), double(y));
  normalise(kernel.weights);
  return kernel;
}

void multiply_taps(BlurKernel& kernel, const std::array<double, 2>& range, const NoiseField& field) {
  if (const FieldSeed* seed = std::get_if<FieldSeed>(&field)) {
    RandomStream stream(field_key(*seed));
    for (double& w : kernel.weights) w *= stream.uniform(range[0], range[1]);
  } else {
    const Tensor factors = std::get<Tensor>(field).to(DType::f64).contiguous();
    RELUME_CHECK(factors.shape() == Shape({kernel.size, kernel.size}), "blur kernel: noise ", factors, " for size ",
                 kernel.size);
    for (size_t i = 0; i < kernel.weights.size(); ++i) kernel.weights[i] *= factors.data<double>()[i];
  }
  normalise(kernel.weights);
  kernel.line.clear();
}

std::string label_of(BlurProfile profile, int64_t size, const BlurSpread& spread, double beta) {
  const auto kind = std::find_if(std::begin(kinds), std::end(kinds),
                                 [&](const Kind& k) { return k.profile == profile && k.isotropic == spread.isotropic; });
  std::string label = fmt::format("{} {}, {:.2g}", blur_kernel_kinds()[size_t(kind - kinds)], size, spread.sigma_x);
  if (!spread.isotropic) label += fmt::format(" x {:.2g}", spread.sigma_y);
  label += " px";
  if (!spread.isotropic) label += fmt::format(" at {:.0f} deg", spread.theta * 180 / std::numbers::pi);
  if (profile != BlurProfile::gaussian) label += fmt::format(", beta {:.2g}", beta);
  return label;
}

}  // namespace

const std::vector<std::string>& blur_kernel_kinds() {
  static const std::vector<std::string> names{"iso",         "aniso",        "generalized_iso", "generalized_aniso",
                                              "plateau_iso", "plateau_aniso"};
  return names;
}

BlurKernel bivariate_kernel(BlurProfile profile, int64_t size, const BlurSpread& spread, double beta) {
  check_size(size);
  check_positive(spread.sigma_x, "sigma_x");
  if (!spread.isotropic) check_positive(spread.sigma_y, "sigma_y");
  if (profile != BlurProfile::gaussian) check_positive(beta, "beta");

  const double along = 1 / (spread.sigma_x * spread.sigma_x);
  const double across = spread.isotropic ? along : 1 / (spread.sigma_y * spread.sigma_y);
  const double theta = spread.isotropic ? 0 : spread.theta, c = std::cos(theta), s = std::sin(theta);
  const double xx = c * c * along + s * s * across, yy = s * s * along + c * c * across, xy = c * s * (along - across);
  BlurKernel kernel = sampled(size, [&](double x, double y) {
    const double q = std::max(0.0, xx * x * x + 2 * xy * x * y + yy * y * y);  // rounding may take a thin form below zero
    switch (profile) {
      case BlurProfile::gaussian: return std::exp(-q / 2);
      case BlurProfile::generalized: return std::exp(-std::pow(q, beta) / 2);
      case BlurProfile::plateau: break;
    }
    return 1 / (1 + std::pow(q, beta));
  });
  if (profile == BlurProfile::gaussian && spread.isotropic) {
    for (int64_t x = -(size / 2); x <= size / 2; ++x) kernel.line.push_back(std::exp(-along * double(x * x) / 2));
    normalise(kernel.line);
  }
  kernel.label = label_of(profile, size, spread, beta);
  return kernel;
}

BlurKernel sinc_kernel(int64_t size, double cutoff) {
  check_size(size);
  RELUME_CHECK(cutoff > 0 && cutoff <= std::numbers::pi, "sinc kernel: cut-off ", cutoff, ", expected a number in (0, pi]");
  BlurKernel kernel = sampled(size, [&](double x, double y) {
    const double r = std::hypot(x, y);
    return r == 0 ? cutoff * cutoff / (4 * std::numbers::pi) : cutoff * j1(cutoff * r) / (2 * std::numbers::pi * r);
  });
  kernel.label = fmt::format("sinc {}, cut-off {:.2f}", size, cutoff);
  return kernel;
}

BlurKernel pulse_kernel(int64_t size) {
  check_size(size);
  BlurKernel kernel{.size = size, .weights = std::vector<double>(size_t(size * size)), .label = "none"};
  kernel.weights[size_t(size * size / 2)] = 1;
  kernel.line.resize(size_t(size));
  kernel.line[size_t(size / 2)] = 1;
  return kernel;
}

BlurKernel padded(const BlurKernel& kernel, int64_t size) {
  check_size(size);
  RELUME_CHECK(size >= kernel.size, "blur kernel: cannot pad size ", kernel.size, " to ", size);
  BlurKernel out{.size = size, .weights = std::vector<double>(size_t(size * size)), .label = kernel.label};
  const int64_t border = (size - kernel.size) / 2;
  for (int64_t y = 0; y < kernel.size; ++y)
    std::copy_n(kernel.weights.begin() + y * kernel.size, kernel.size, out.weights.begin() + (y + border) * size + border);
  if (!kernel.line.empty()) {
    out.line.resize(size_t(size));
    std::copy(kernel.line.begin(), kernel.line.end(), out.line.begin() + border);
  }
  return out;
}

void check_blur_kernel_options(const BlurKernelOptions& options) {
  check_size(options.size);
  for (const std::string& name : options.kinds) kind_named(name);
  RELUME_CHECK(!options.kinds.empty() && options.kinds.size() == options.weights.size(), "kernel_list has ",
               options.kinds.size(), " kernels and kernel_prob ", options.weights.size(), " numbers; give one to each kernel");
  RELUME_CHECK(
      std::all_of(options.weights.begin(), options.weights.end(), [](double w) { return w >= 0 && std::isfinite(w); }) &&
          std::accumulate(options.weights.begin(), options.weights.end(), 0.0) > 0,
      "kernel_prob: expected numbers from 0 up, not all 0");
  check_positive(options.sigma[0], "the lower end of the sigma range");
}

BlurKernel draw_blur_kernel(const BlurKernelOptions& options, Draws& draws, std::string_view stage) {
  const auto name = [&](const char* what) { return std::string(stage) + '.' + what; };
  const Kind kind = kind_named(options.kinds.at(draws.choice(options.kinds, options.weights, name("kernel"))));
  BlurSpread spread{.isotropic = kind.isotropic};
  spread.sigma_x = draws.uniform(options.sigma[0], options.sigma[1], name("sigma_x"));
  if (!kind.isotropic) {
    spread.sigma_y = draws.uniform(options.sigma[0], options.sigma[1], name("sigma_y"));
    spread.theta = draws.uniform(-std::numbers::pi, std::numbers::pi, name("theta"));
  }
  double beta = 1;
  if (kind.profile != BlurProfile::gaussian) {
    const auto& range = kind.profile == BlurProfile::plateau ? options.beta_plateau : options.beta_generalized;
    const bool below_one = draws.uniform(0, 1, name("beta_side")) < 0.5;
    beta = below_one ? draws.uniform(range[0], 1, name("beta")) : draws.uniform(1, range[1], name("beta"));
  }
  BlurKernel kernel = bivariate_kernel(kind.profile, options.size, spread, beta);
  if (options.noise && kind.profile != BlurProfile::plateau)
    multiply_taps(kernel, *options.noise, draws.field(name("kernel_noise")));
  return kernel;
}

}  // namespace relume
