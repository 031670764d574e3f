#include "degrade/sharpen.h"

#include <cmath>

#include "data/picture_batch.h"
#include "degrade/filter.h"
#include "tensor/kernels/picture.h"

namespace relume {

Sharpened sharpen_stages(const Tensor& pictures, const SharpenOptions& options) {
  const double sigma = options.sigma > 0 ? options.sigma : 0.3 * (double(options.size - 1) / 2 - 1) + 0.8;
  RELUME_CHECK(std::isfinite(options.weight) && options.threshold >= 0, "sharpen: weight ", options.weight, ", threshold ",
               options.threshold, "; expected a number, and one of 0 or more");
  const BlurKernel gaussian = bivariate_kernel(BlurProfile::gaussian, options.size, {.sigma_x = sigma});
  const Tensor x = as_batch(pictures, "sharpen"), mask = empty_like(x), result = empty_like(x);
  const Tensor blurred = blur(x, gaussian);
  kernels::sharpen_mask.on(x.device())(mask, x, blurred, float(options.threshold));
  const Tensor soft = blur(mask, gaussian);
  kernels::sharpen_blend.on(x.device())(result, x, blurred, soft, float(options.weight));
  return {with_rank_of(pictures, blurred), with_rank_of(pictures, soft), with_rank_of(pictures, result)};
}

}  // namespace relume
