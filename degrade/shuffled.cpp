#include "degrade/shuffled.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace relume {
namespace {

const std::vector<std::string>& shuffled_steps() {
  static const std::vector<std::string> names{"blur_a", "blur_b", "downsample_a", "downsample_b", "noise", "jpeg"};
  return names;
}

// The Gaussian of 25 x 25 moved by half a stride less half a pixel, so that the pixels taken at the upper left of each cell are
// samples at its middle; bilinear between the taps.
BlurKernel shifted_gaussian(double sigma, int64_t stride) {
  constexpr int64_t side = 25;
  const BlurKernel centred = bivariate_kernel(BlurProfile::gaussian, side, {.sigma_x = sigma});
  const double shift = 0.5 * double(stride - 1);
  // Correlation: a sample at +shift needs the taps moved to the right and down. One dimension of the product.
  std::vector<double> line(size_t(side), 0.0);
  for (int64_t i = 0; i < side; ++i) {
    const double at = double(i) - shift;
    const auto tap = [&](double k) { return k < 0 || k > double(side - 1) ? 0 : centred.line[size_t(k)]; };
    line[size_t(i)] = (1 - (at - std::floor(at))) * tap(std::floor(at)) + (at - std::floor(at)) * tap(std::floor(at) + 1);
  }
  double sum = 0;
  for (const double w : line) sum += w;
  BlurKernel kernel{.size = side, .weights = {}, .line = line, .label = centred.label + ", shifted"};
  for (double& w : kernel.line) w /= sum;
  for (const double y : kernel.line)
    for (const double x : kernel.line) kernel.weights.push_back(y * x);
  return kernel;
}

struct Drawing {
  const ShuffledRecipe& recipe;
  int64_t height, width, scale;  // of the picture now; what is left of the scale after halving
  const int64_t out_height, out_width;
  Draws& draws;
  std::vector<Step> steps;

  double within(double low, double high, const std::string& name) { return draws.uniform(low, high, name); }
  // A whole number, both ends included.
  double whole_within(const DrawRange& range, const std::string& name) {
    return std::min(std::floor(within(range[0], range[1] + 1, name)), range[1]);
  }
  size_t evenly(const std::vector<std::string>& options, const std::string& name) {
    return draws.choice(options, std::vector<double>(options.size(), 1.0), name);
  }

  void resize(ResizeMethod method, int64_t to_height, int64_t to_width, double factor = 0) {
    RELUME_CHECK(to_height >= 1 && to_width >= 1, "shuffled recipe: a picture of ", height, " x ", width,
                 " pixels would become ", to_height, " x ", to_width, "; use larger crops");
    height = to_height, width = to_width;
    steps.push_back(ResizeStep{method, height, width, factor});
    steps.push_back(ClampStep{});
  }
  ResizeMethod opencv_method(const std::string& name) {
    constexpr ResizeMethod methods[] = {ResizeMethod::opencv_linear, ResizeMethod::opencv_cubic, ResizeMethod::opencv_area};
    return methods[evenly({"linear", "cubic", "area"}, name)];
  }

  void halve() {
    if (within(0, 1, "halve") >= recipe.halve_prob) return;
    const int64_t h = height / 2, w = width / 2;
    if (within(0, 1, "halve.method") < 0.5)
      resize(opencv_method("halve.mode"), h, w);
    else
      resize(ResizeMethod::matlab_bicubic, (height + 1) / 2, (width + 1) / 2, 0.5);
    scale = 2;
  }

  void blur(const std::string& stage) {
    const double s = double(scale);
    constexpr double least = 0.05;  // below it a kernel is a single tap, and its formula divides by zero
    const bool isotropic = within(0, 1, stage + ".kind") >= 0.5;
    BlurSpread spread{.isotropic = isotropic};
    if (isotropic) {
      spread.sigma_x = std::max(least, within(0, 2 + 0.2 * s, stage + ".sigma"));
    } else {  // the axes are variances
      spread.sigma_x = std::max(least, std::sqrt(within(0, 4 + s, stage + ".axis_x")));
      spread.sigma_y = std::max(least, std::sqrt(within(0, 4 + s, stage + ".axis_y")));
      spread.theta = within(0, std::numbers::pi, stage + ".theta");
    }
    const int64_t size = 7 + 2 * int64_t(whole_within({0, 9}, stage + ".size"));
    steps.push_back(BlurStep{{bivariate_kernel(BlurProfile::gaussian, size, spread)}});
  }

  void downsample_a() {
    if (within(0, 1, "downsample_a.kind") < recipe.resize_prob) {
      const double factor = within(1, 2 * double(scale), "downsample_a.factor");
      resize(opencv_method("downsample_a.mode"), int64_t(double(height) / factor), int64_t(double(width) / factor));
      return;
    }
    const double sigma = within(0.1, 0.6 * double(scale), "downsample_a.sigma");
    steps.push_back(BlurStep{{shifted_gaussian(sigma, scale)}});
    steps.push_back(DecimateStep{scale});
    steps.push_back(ClampStep{});
    height = (height + scale - 1) / scale, width = (width + scale - 1) / scale;
  }

  void noise() {
    const double level = whole_within(recipe.noise_range, "noise.sigma"), kind = within(0, 1, "noise.kind");
    NoiseStep step{.strength = {level}, .grey = {kind < 0.4}};
    if (kind >= 0.4 && kind <= 0.6) {
      step.strength = {recipe.noise_range[1]};  // the reference's covariance has the greatest level
      step.mixing = draw_mixing();
    }
    (step.grey[0] ? step.fields.plane : step.fields.colour) = draws.field("noise.field");
    steps.push_back(std::move(step));
  }

  // A matrix m with m m' = |u' d u|: u a random orthogonal matrix, d diagonal with numbers from [0, 1).
  std::vector<double> draw_mixing();

  void jpeg(const std::string& stage) {
    steps.push_back(JpegStep{.quality = {whole_within(recipe.jpeg_range, stage + ".quality")}, .real = true});
  }
};

// A 3 x 3 rotation from a random unit quaternion (Shoemake 1992).
std::array<double, 9> rotation(double u, double v, double w) {
  constexpr double turn = 2 * std::numbers::pi;
  const double a = std::sqrt(1 - u) * std::sin(turn * v), b = std::sqrt(1 - u) * std::cos(turn * v);
  const double c = std::sqrt(u) * std::sin(turn * w), d = std::sqrt(u) * std::cos(turn * w);
  return {1 - 2 * (b * b + c * c), 2 * (a * b - c * d), 2 * (a * c + b * d), 2 * (a * b + c * d),    1 - 2 * (a * a + c * c),
          2 * (b * c - a * d),     2 * (a * c - b * d), 2 * (b * c + a * d), 1 - 2 * (a * a + b * b)};
}

std::vector<double> Drawing::draw_mixing() {
  double d[3], r[3];
  for (double& x : d) x = within(0, 1, "noise.variance");
  for (double& x : r) x = within(0, 1, "noise.rotation");
  const std::array<double, 9> u = rotation(r[0], r[1], r[2]);
  std::vector<double> covariance(9, 0.0);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      for (size_t k = 0; k < 3; ++k) covariance[3 * i + j] += u[3 * k + i] * d[k] * u[3 * k + j];
      covariance[3 * i + j] = std::abs(covariance[3 * i + j]);  // as the reference does; it may lose definiteness so
    }
  // Cholesky, a pivot that the absolute values made negative counting as zero.
  std::vector<double> m(9, 0.0);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j <= i; ++j) {
      double rest = covariance[3 * i + j];
      for (size_t k = 0; k < j; ++k) rest -= m[3 * i + k] * m[3 * j + k];
      m[3 * i + j] = i == j ? std::sqrt(std::max(0.0, rest)) : m[3 * j + j] > 1e-12 ? rest / m[3 * j + j] : 0;
    }
  return m;
}

}  // namespace

void ShuffledRecipe::validate() const {
  check_ordered(noise_range, "noise_range");
  check_ordered(jpeg_range, "jpeg_range");
}

std::vector<Step> draw_shuffled(const ShuffledRecipe& recipe, int64_t height, int64_t width, Draws& draws) {
  const int64_t out_height = height / recipe.scale, out_width = width / recipe.scale;
  Drawing d{.recipe = recipe,
            .height = height,
            .width = width,
            .scale = recipe.scale,
            .out_height = out_height,
            .out_width = out_width,
            .draws = draws,
            .steps = {}};
  if (recipe.scale == 4) d.halve();

  std::vector<std::string> left = shuffled_steps(), order;
  while (!left.empty()) {
    const size_t next = d.evenly(left, "order");
    order.push_back(left[next]);
    left.erase(left.begin() + int64_t(next));
  }
  const auto first = std::ranges::find(order, "downsample_a"), second = std::ranges::find(order, "downsample_b");
  if (second < first) std::iter_swap(first, second);

  for (const std::string& step : order) {
    if (step.starts_with("blur")) d.blur(step);
    if (step == "downsample_a") d.downsample_a();
    if (step == "downsample_b") d.resize(d.opencv_method("downsample_b.mode"), out_height, out_width);
    if (step == "noise") d.noise();
    if (step == "jpeg" && d.within(0, 1, "jpeg") < recipe.jpeg_prob) d.jpeg("jpeg");
  }
  d.jpeg("last_jpeg");
  if (recipe.resize_back) {
    d.resize(ResizeMethod::bicubic, height, width);
    d.steps.push_back(LevelsStep{});
  }
  return std::move(d.steps);
}

}  // namespace relume
