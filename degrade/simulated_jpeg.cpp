#include "degrade/simulated_jpeg.h"

#include "data/picture_batch.h"

namespace relume {
namespace {

Tensor checked_rgb(const Tensor& pictures, const char* operation) {
  const Tensor x = as_batch(pictures, operation);
  RELUME_CHECK(x.shape(3) == 3, operation, ": got ", pictures, ", expected three channels");
  return x;
}

// f32 [N] beside x.
Tensor qualities(const std::vector<double>& quality, const Tensor& x, double most, const char* operation) {
  RELUME_CHECK(int64_t(quality.size()) == x.shape(0), operation, ": ", quality.size(), " qualities for pictures ", x);
  for (const double q : quality) RELUME_CHECK(q >= 1 && q <= most, operation, ": quality ", q, ", expected 1 to ", most);
  return Tensor::of<float>({x.shape(0)}, {quality.begin(), quality.end()}).to(x.device());
}

}  // namespace

Tensor simulate_jpeg(const Tensor& pictures, const std::vector<double>& quality, const SimulatedJpegOptions& options) {
  const Tensor x = checked_rgb(pictures, "simulate_jpeg"), out = empty_like(x);
  kernels::simulated_jpeg_forward.on(x.device())(out, x, qualities(quality, x, 100, "simulate_jpeg"), options);
  return with_rank_of(pictures, out);
}

Tensor simulate_jpeg_gradient(const Tensor& gradient, const Tensor& pictures, const std::vector<double>& quality,
                              const SimulatedJpegOptions& options) {
  const Tensor x = checked_rgb(pictures, "simulate_jpeg_gradient"), out = empty_like(x);
  const Tensor dy = checked_rgb(gradient, "simulate_jpeg_gradient");
  RELUME_CHECK(dy.shape() == x.shape() && dy.device() == x.device(), "simulate_jpeg_gradient: gradient ", gradient,
               " of pictures ", pictures);
  RELUME_CHECK(options.differentiable, "simulate_jpeg_gradient: plain rounding has no gradient; set options.differentiable");
  kernels::simulated_jpeg_backward.on(x.device())(out, dy, x, qualities(quality, x, 100, "simulate_jpeg_gradient"), options);
  return with_rank_of(pictures, out);
}

JpegCoefficients jpeg_coefficients(const Tensor& pictures, const std::vector<double>& quality,
                                   const SimulatedJpegOptions& options) {
  const Tensor x = checked_rgb(pictures, "jpeg_coefficients"), q = qualities(quality, x, 99.999, "jpeg_coefficients");
  const int64_t n = x.shape(0), squares = ((x.shape(1) + 15) / 16) * ((x.shape(2) + 15) / 16);
  const auto blocks = [&](int64_t count) { return Tensor::empty({n, count, 8, 8}, DType::f32, x.device()); };
  JpegCoefficients out{.luma = blocks(4 * squares), .cb = blocks(squares), .cr = blocks(squares)};
  kernels::simulated_jpeg_coefficients.on(x.device())(out.luma, out.cb, out.cr, x, q, options);
  std::vector<float> factors;
  for (const double value : quality) factors.push_back(kernels::simulated_jpeg_factor(float(value)));
  out.factor = Tensor::of<float>({n}, factors);
  return out;
}

}  // namespace relume
