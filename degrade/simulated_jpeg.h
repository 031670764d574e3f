// JPEG artefacts without a codec (degradation spec D2.5, batch): the transforms and quantisation of JPEG on floats, the quality
// a real number, the result not rounded to 8 bits. Pictures are f32 RGB [H, W, 3] or [N, H, W, 3], clamped to [0, 1] first;
// sides that are not multiples of 16 are completed with black, as the field's reference does.
#pragma once

#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/kernels/picture.h"

namespace relume {

using SimulatedJpegOptions = kernels::SimulatedJpegOptions;

// `quality` of each picture, 1 to 100; 100 quantises nothing.
Tensor simulate_jpeg(const Tensor& pictures, const std::vector<double>& quality, const SimulatedJpegOptions& options = {});

// The gradient of simulate_jpeg() with options.differentiable, from that of its result. Throws for plain rounding, which has
// none.
Tensor simulate_jpeg_gradient(const Tensor& gradient, const Tensor& pictures, const std::vector<double>& quality,
                              const SimulatedJpegOptions& options);

// The rounded quotients of coefficients and steps, f32 [N, blocks, 8, 8] over the completed picture (kernels/picture.h),
// quality below 100; factor f32 [N], what the quality multiplies the tables by.
struct JpegCoefficients {
  Tensor luma, cb, cr, factor;
};
JpegCoefficients jpeg_coefficients(const Tensor& pictures, const std::vector<double>& quality,
                                   const SimulatedJpegOptions& options = {});

}  // namespace relume
