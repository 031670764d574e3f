// Slots for degrading pictures (degradation spec D2): batches f32 [N, H, W, C], dense. A parameter of each sample is an f32
// tensor [N] on the same device. Forward only, but for the simulated JPEG.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tensor/core/kernel.h"
#include "tensor/core/philox.h"
#include "tensor/core/tensor.h"

namespace relume::kernels {

// y[n, i, j, c] = sum over (a, b) of weights[n, a, b] * x[n, i + a - kh / 2, j + b - kw / 2, c], border reflect-101 (the edge
// is not repeated; kernels larger than the picture fold back and forth), weights exact to 2^-22 of their absolute sum. weights
// f32 [N, kh, kw], or [1, kh, kw] for all samples. Of y only the `rows` (increasing) are written, all when they are empty: a
// reduction that follows may read few.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& weights, std::span<const int64_t> rows)> correlate{
    "correlate"};
// The same with weights[n, a, b] = column[n, a] * row[n, b], as two passes. column f32 [N or 1, kh], row f32 [N or 1, kw].
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& column, const Tensor& row, std::span<const int64_t> rows)>
    correlate_separable{"correlate_separable"};

// What each output position along one axis is made of: index i32 [out, taps], not decreasing along taps, and weight f32 [out,
// taps]; unused taps have weight zero and repeat a used index.
struct ResampleAxis {
  Tensor index, weight;
};
// y[n, i, j, c] = sum over (s, t) of rows.weight[i, s] * columns.weight[j, t] * x[n, rows.index[i, s], columns.index[j, t], c].
inline Kernel<void(const Tensor& y, const Tensor& x, const ResampleAxis& rows, const ResampleAxis& columns)> resample{
    "resample"};

// y = x + scale[n] * noise, clamped to [0, 1] when `clip`. noise f32 [N, H, W, C], or [N, H, W, 1] for all channels.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& noise, const Tensor& scale, bool clip)> add_noise{
    "add_noise"};
// y = clamp(round(255 x), 0, 255) / 255, half to even.
inline Kernel<void(const Tensor& y, const Tensor& x)> round_to_levels{"round_to_levels"};
// y = x clamped to [0, 1].
inline Kernel<void(const Tensor& y, const Tensor& x)> clamp_to_unit{"clamp_to_unit"};
// Shot noise (D2.4): x8 = clamp(round(255 x), 0, 255) / 255, v = 2^ceil(log2(number of distinct values of x8 in the sample)),
// noise = Poisson(v x8) / v - x8. noise has x's shape, or one channel: then x8 is that of the luma x . luma_weights.
// The counts come from `counts` (noise's shape) where it is given. Otherwise element i of sample n has the count k for which
// P(X < k) <= u < P(X <= k), u = (1/2 + word i of the Philox stream of keys[n]) / 2^32: inversion, so that every device
// draws the same.
inline Kernel<void(const Tensor& noise, const Tensor& x, const Tensor& counts, std::span<const RandomKey> keys,
                   const std::array<float, 3>& luma_weights)>
    poisson_noise{"poisson_noise"};

struct SimulatedJpegOptions {
  bool transposed_luma_table = true;  // as the field's reference has it (D2.5, batch)
  bool differentiable = false;        // round(v) + (v - round(v))^3 in place of round(v)
};
// What a quality multiplies the quantisation tables by.
constexpr float simulated_jpeg_factor(float quality) { return (quality < 50 ? 5000 / quality : 200 - 2 * quality) / 100; }
// y = the simulated JPEG of x clamped to [0, 1] (D2.5, batch), C = 3, quality f32 [N], 1 to 100.
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& quality, const SimulatedJpegOptions& options)>
    simulated_jpeg_forward{"simulated_jpeg_forward"};
// dx from dy for the differentiable form.
inline Kernel<void(const Tensor& dx, const Tensor& dy, const Tensor& x, const Tensor& quality,
                   const SimulatedJpegOptions& options)>
    simulated_jpeg_backward{"simulated_jpeg_backward"};
// What the simulated JPEG keeps of x: the rounded quotients, f32 [N, blocks, 8, 8], blocks in row-major order over the plane
// padded to whole 16 x 16 squares, [.., vertical, horizontal frequency]; four times as many blocks in luma as in cb and cr.
inline Kernel<void(const Tensor& luma, const Tensor& cb, const Tensor& cr, const Tensor& x, const Tensor& quality,
                   const SimulatedJpegOptions& options)>
    simulated_jpeg_coefficients{"simulated_jpeg_coefficients"};

// Unsharp masking (D2.7), the two pointwise parts: mask = 1 where |x - blurred| * 255 > threshold, else 0;
// y = soft * clamp(x + weight * (x - blurred), 0, 1) + (1 - soft) * x. All of x's shape.
inline Kernel<void(const Tensor& mask, const Tensor& x, const Tensor& blurred, float threshold)> sharpen_mask{"sharpen_mask"};
inline Kernel<void(const Tensor& y, const Tensor& x, const Tensor& blurred, const Tensor& soft, float weight)> sharpen_blend{
    "sharpen_blend"};

template <class F> void for_each_picture_slot(F&& f) {
  f(correlate), f(correlate_separable), f(resample), f(add_noise), f(round_to_levels), f(clamp_to_unit), f(poisson_noise),
      f(simulated_jpeg_forward), f(simulated_jpeg_backward), f(simulated_jpeg_coefficients), f(sharpen_mask), f(sharpen_blend);
}

}  // namespace relume::kernels
