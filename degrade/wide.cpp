#include "degrade/wide.h"

#include "data/resize.h"

namespace relume {
namespace {

BlurKernelOptions blur_options(const WideRecipe& recipe) {
  return {.size = recipe.blur_kernel_size,
          .kinds = recipe.kernel_list,
          .weights = recipe.kernel_prob,
          .sigma = recipe.blur_sigma,
          .beta_generalized = recipe.betag_range,
          .beta_plateau = recipe.betap_range};
}

}  // namespace

void WideRecipe::validate() const {
  check_blur_kernel_options(blur_options(*this));
  check_ordered(blur_sigma, "blur_sigma");
  check_ordered(downsample_range, "downsample_range");
  check_ordered(noise_range, "noise_range");
  check_ordered(jpeg_range, "jpeg_range");
  check_around_one(betag_range, "betag_range");
  check_around_one(betap_range, "betap_range");
}

std::vector<Step> draw_wide(const WideRecipe& recipe, int64_t height, int64_t width, Draws& draws) {
  const BlurKernel kernel = draw_blur_kernel(blur_options(recipe), draws, "blur");
  const double factor = draw_within(recipe.downsample_range, draws, "downsample");
  const int64_t small_height = reduced_side(height, factor), small_width = reduced_side(width, factor);
  RELUME_CHECK(small_height >= 1 && small_width >= 1, "wide recipe: a picture of ", height, " x ", width,
               " pixels cannot be reduced ", factor, " times; use larger crops or a smaller downsample_range");
  NoiseStep noise{.strength = {draw_within(recipe.noise_range, draws, "noise.sigma")}, .grey = {false}};
  draws.uniform(0, 1, "noise.grey");
  noise.fields.colour = draws.field("noise.field");
  const double quality = draw_within(recipe.jpeg_range, draws, "jpeg.quality");
  return {BlurStep{{kernel}}, ResizeStep{ResizeMethod::opencv_linear, small_height, small_width}, noise,
          JpegStep{.quality = {quality}, .real = recipe.real_jpeg}, ResizeStep{ResizeMethod::opencv_linear, height, width}};
}

}  // namespace relume
