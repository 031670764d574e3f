#include "degrade/second_order.h"

#include <algorithm>
#include <numbers>

#include "data/resize.h"

namespace relume {
namespace {

constexpr int64_t kernel_side = 21;  // what kernels are padded to
constexpr double pi = std::numbers::pi;

BlurKernelOptions blur_options(const SecondOrderBlur& blur, int64_t size) {
  return {.size = size,
          .kinds = blur.kernel_list,
          .weights = blur.kernel_prob,
          .sigma = blur.sigma,
          .beta_generalized = blur.betag_range,
          .beta_plateau = blur.betap_range};
}

size_t draw_evenly(const std::vector<std::string>& options, Draws& draws, const std::string& name) {
  return draws.choice(options, std::vector<double>(options.size(), 1.0), name);
}

int64_t draw_kernel_size(Draws& draws, const std::string& name) {
  static const std::vector<std::string> sizes{"7", "9", "11", "13", "15", "17", "19", "21"};
  return 7 + 2 * int64_t(draw_evenly(sizes, draws, name));
}

BlurKernel draw_kernel(const SecondOrderBlur& blur, Draws& draws, const std::string& stage) {
  const int64_t size = draw_kernel_size(draws, stage + ".size");
  if (draws.uniform(0, 1, stage + ".sinc") < blur.sinc_prob)
    return padded(sinc_kernel(size, draws.uniform(size < 13 ? pi / 3 : pi / 5, pi, stage + ".cutoff")), kernel_side);
  return padded(draw_blur_kernel(blur_options(blur, size), draws, stage), kernel_side);
}

ResizeMethod draw_mode(Draws& draws, const std::string& name) {
  static const std::vector<std::string> modes{"area", "bilinear", "bicubic"};
  constexpr ResizeMethod methods[] = {ResizeMethod::area, ResizeMethod::bilinear, ResizeMethod::bicubic};
  return methods[draw_evenly(modes, draws, name)];
}

// Carries the size of the picture from step to step.
struct Drawing {
  const SecondOrderRecipe& recipe;
  const int64_t count;
  int64_t height, width;
  Draws& draws;
  std::vector<Step> steps;

  std::vector<double> for_each_picture(const DrawRange& range, const std::string& name) {
    std::vector<double> values;
    for (int64_t i = 0; i < count; ++i) values.push_back(draws.uniform(range[0], range[1], name));
    return values;
  }

  double draw_factor(const SecondOrderRound& round, const std::string& stage) {
    static const std::vector<std::string> directions{"up", "down", "keep"};
    const size_t direction = draws.choice(directions, round.resize_prob, stage + ".direction");
    if (direction == 0) return draws.uniform(1, round.resize_range[1], stage + ".scale");
    return direction == 1 ? draws.uniform(round.resize_range[0], 1, stage + ".scale") : 1;
  }

  void resize(ResizeMethod method, int64_t to_height, int64_t to_width, double factor = 0) {
    RELUME_CHECK(to_height >= 1 && to_width >= 1, "second-order recipe: a picture of ", height, " x ", width,
                 " pixels would become ", to_height, " x ", to_width, "; use larger crops or a narrower resize_range");
    height = to_height, width = to_width;
    steps.push_back(ResizeStep{method, height, width, factor});
  }

  void noise(const SecondOrderRound& round, const std::string& stage) {
    NoiseStep step;
    const bool gaussian = draws.uniform(0, 1, stage + ".kind") < round.gaussian_noise_prob;
    step.fields.shared_plane = gaussian && count > 1;  // of Poisson noise the counts differ from picture to picture
    step.kind = gaussian ? NoiseStep::Kind::gaussian : NoiseStep::Kind::poisson;
    step.strength = gaussian ? for_each_picture(round.noise_range, stage + ".sigma")
                             : for_each_picture(round.poisson_scale_range, stage + ".scale");
    for (const double coin : for_each_picture({0, 1}, stage + ".grey")) step.grey.push_back(coin < round.gray_noise_prob);
    if (std::ranges::count(step.grey, true) > 0) step.fields.plane = draws.field(stage + ".plane");
    step.fields.colour = draws.field(stage + ".colour");
    steps.push_back(std::move(step));
  }

  void jpeg(const SecondOrderRound& round, const std::string& stage) {
    steps.push_back(JpegStep{.quality = for_each_picture(round.jpeg_range, stage + ".quality"),
                             .transposed_luma_table = recipe.transposed_jpeg_table});
  }
};

}  // namespace

void SecondOrderBlur::validate() const {
  check_blur_kernel_options(blur_options(*this, kernel_side));
  check_ordered(sigma, "sigma");
  check_around_one(betag_range, "betag_range");
  check_around_one(betap_range, "betap_range");
}

void SecondOrderRound::validate() const {
  RELUME_CHECK(resize_prob.size() == 3 && std::ranges::any_of(resize_prob, [](double p) { return p > 0; }), "resize_prob has ",
               resize_prob.size(), " numbers; give three, not all 0: enlarge, reduce, keep");
  check_around_one(resize_range, "resize_range");
  check_ordered(noise_range, "noise_range");
  check_ordered(poisson_scale_range, "poisson_scale_range");
  check_ordered(jpeg_range, "jpeg_range");
}

void SecondOrderRecipe::validate() const {
  RELUME_CHECK(stage2_scale.size() == 1 || (stage2_scale.size() == 2 && stage2_scale[0] <= stage2_scale[1]),
               "stage2_scale: expected one number, or two in order");
}

SecondOrderKernels draw_second_order_kernels(const SecondOrderRecipe& recipe, Draws& draws) {
  SecondOrderKernels kernels;
  kernels.first = draw_kernel(recipe.blur, draws, "blur1");
  kernels.second = draw_kernel(recipe.blur2, draws, "blur2");
  if (draws.uniform(0, 1, "sinc") < recipe.final_sinc_prob) {
    const int64_t size = draw_kernel_size(draws, "sinc.size");
    kernels.last = padded(sinc_kernel(size, draws.uniform(pi / 3, pi, "sinc.cutoff")), kernel_side);
  } else {
    kernels.last = pulse_kernel(kernel_side);
  }
  return kernels;
}

std::vector<Step> draw_second_order(const SecondOrderRecipe& recipe, const std::vector<SecondOrderKernels>& kernels,
                                    int64_t height, int64_t width, Draws& draws) {
  Drawing d{.recipe = recipe, .count = int64_t(kernels.size()), .height = height, .width = width, .draws = draws, .steps = {}};
  const auto blur = [&](BlurKernel SecondOrderKernels::*which) {
    BlurStep step;
    for (const SecondOrderKernels& k : kernels) step.kernels.push_back(k.*which);
    d.steps.push_back(std::move(step));
  };
  blur(&SecondOrderKernels::first);
  const double factor = d.draw_factor(recipe.round, "resize1");
  d.resize(draw_mode(draws, "resize1.mode"), int64_t(double(height) * factor), int64_t(double(width) * factor), factor);
  d.noise(recipe.round, "noise1");
  d.jpeg(recipe.round, "jpeg1");

  if (draws.uniform(0, 1, "second_blur") < recipe.second_blur_prob) blur(&SecondOrderKernels::second);
  const auto& scales = recipe.stage2_scale;
  const double scale = scales.size() == 1 ? scales[0] : draws.uniform(scales[0], scales[1], "stage2_scale");
  const int64_t small_height = reduced_side(height, scale), small_width = reduced_side(width, scale);
  const double factor2 = d.draw_factor(recipe.round2, "resize2");
  d.resize(draw_mode(draws, "resize2.mode"), int64_t(double(small_height) * factor2), int64_t(double(small_width) * factor2));
  d.noise(recipe.round2, "noise2");

  const auto resize_and_sinc = [&] {
    d.resize(draw_mode(draws, "end.mode"), small_height, small_width);
    blur(&SecondOrderKernels::last);
  };
  const bool resize_first = draws.uniform(0, 1, "end.resize_first") < 0.5;
  if (resize_first) resize_and_sinc();
  d.jpeg(recipe.round2, "jpeg2");
  if (!resize_first) resize_and_sinc();
  if (recipe.resize_back) d.resize(ResizeMethod::bicubic, height, width);
  d.steps.push_back(LevelsStep{});
  return std::move(d.steps);
}

}  // namespace relume
