#include "degrade/recipe.h"

#include "degrade/filter.h"
#include "degrade/jpeg.h"
#include "degrade/noise.h"
#include "degrade/picture.h"
#include "degrade/resize.h"

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
  const auto ordered = [](const std::array<double, 2>& range, const char* name) {
    RELUME_CHECK(range[0] <= range[1], name, ": [", range[0], ", ", range[1], "] ends below its beginning");
  };
  ordered(blur_sigma, "blur_sigma");
  ordered(downsample_range, "downsample_range");
  ordered(noise_range, "noise_range");
  ordered(jpeg_range, "jpeg_range");
  const auto around_one = [](const std::array<double, 2>& range, const char* name) {
    RELUME_CHECK(range[0] <= 1 && range[1] >= 1, name, ": [", range[0], ", ", range[1], "] does not contain 1");
  };
  around_one(betag_range, "betag_range");
  around_one(betap_range, "betap_range");
}

WideDraw draw_wide(const WideRecipe& recipe, int64_t height, int64_t width, Draws& draws) {
  const auto within = [&draws](const std::array<double, 2>& range, const char* name) {
    return draws.uniform(range[0], range[1], name);
  };
  WideDraw draw{.height = height, .width = width};
  draw.kernel = draw_blur_kernel(blur_options(recipe), draws, "blur");
  const double factor = within(recipe.downsample_range, "downsample");
  draw.small_height = reduced_side(height, factor);
  draw.small_width = reduced_side(width, factor);
  RELUME_CHECK(draw.small_height >= 1 && draw.small_width >= 1, "wide recipe: a picture of ", height, " x ", width,
               " pixels cannot be reduced ", factor, " times; use larger crops or a smaller downsample_range");
  draw.noise_sigma = within(recipe.noise_range, "noise.sigma");
  draws.uniform(0, 1, "noise.grey");
  draw.noise = draws.normal_field({draw.small_height, draw.small_width, 3}, "noise.field");
  draw.jpeg_quality = int(within(recipe.jpeg_range, "jpeg.quality"));
  return draw;
}

Tensor apply(WideStage stage, const Tensor& image, const WideDraw& draw) {
  switch (stage) {
    case WideStage::blur: return blur(image, draw.kernel);
    case WideStage::downsample: return resize_opencv(image, draw.small_height, draw.small_width, OpencvResize::linear);
    case WideStage::noise: return add_gaussian_noise(image, draw.noise, draw.noise_sigma);
    case WideStage::jpeg: return add_jpeg(image, draw.jpeg_quality);
    case WideStage::back: break;
  }
  return resize_opencv(image, draw.height, draw.width, OpencvResize::linear);
}

Degraded degrade_wide(const Tensor& gt, const WideRecipe& recipe, Draws& draws) {
  Tensor x = checked_picture(gt, "degrade_wide");
  RELUME_CHECK(x.shape(2) == 3, "degrade_wide: got ", gt, ", expected three channels");
  const WideDraw draw = draw_wide(recipe, x.shape(0), x.shape(1), draws);
  for (const WideStage stage : wide_stages) x = apply(stage, x, draw);
  return {.lq = x, .gt = gt};
}

}  // namespace relume
