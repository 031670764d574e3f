#include "degrade/steps.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/picture_batch.h"
#include "data/resize.h"
#include "degrade/filter.h"
#include "degrade/jpeg.h"
#include "degrade/simulated_jpeg.h"
#include "tensor/kernels/picture.h"
#include "tensor/kernels/random.h"

namespace relume {
namespace {

template <class... F> struct Overloaded : F... { using F::operator()...; };
template <class... F> Overloaded(F...) -> Overloaded<F...>;  // which clang 14 does not find by itself

Tensor resized(const ResizeStep& s, const Tensor& x) {
  const TorchResizeOptions torch{.scale_y = s.factor, .scale_x = s.factor};
  switch (s.method) {
    case ResizeMethod::opencv_linear: return resize_opencv(x, s.height, s.width, OpencvResize::linear);
    case ResizeMethod::opencv_cubic: return resize_opencv(x, s.height, s.width, OpencvResize::cubic);
    case ResizeMethod::opencv_area: return resize_opencv(x, s.height, s.width, OpencvResize::area);
    case ResizeMethod::area: return resize_torch(x, s.height, s.width, TorchResize::area);
    case ResizeMethod::bilinear: return resize_torch(x, s.height, s.width, TorchResize::bilinear, torch);
    case ResizeMethod::bicubic: return resize_torch(x, s.height, s.width, TorchResize::bicubic, torch);
    case ResizeMethod::matlab_bicubic: break;
  }
  return imresize_matlab(x, s.factor);
}

// The rows that a resize of pictures [.., height, width, 3] reads; empty: all.
std::vector<int64_t> rows_read(const ResizeStep& s, int64_t height) {
  const TorchResizeOptions torch{.scale_y = s.factor, .scale_x = s.factor};
  switch (s.method) {
    case ResizeMethod::opencv_linear: return rows_read_opencv(height, s.height, OpencvResize::linear);
    case ResizeMethod::opencv_cubic: return rows_read_opencv(height, s.height, OpencvResize::cubic);
    case ResizeMethod::bilinear: return rows_read_torch(height, s.height, TorchResize::bilinear, torch);
    case ResizeMethod::bicubic: return rows_read_torch(height, s.height, TorchResize::bicubic, torch);
    default: return {};
  }
}

const char* name_of(ResizeMethod method) {
  constexpr const char* names[] = {"linear (cv)", "cubic (cv)", "area (cv)", "area", "bilinear", "bicubic", "bicubic (MATLAB)"};
  return names[int(method)];
}

// Every stride-th of n positions.
kernels::ResampleAxis decimated(int64_t n, int64_t stride, Device device) {
  const int64_t kept = (n + stride - 1) / stride;
  kernels::ResampleAxis axis{Tensor::empty({kept, 1}, DType::i32), Tensor::full({kept, 1}, 1)};
  for (int64_t i = 0; i < kept; ++i) axis.index.data<int32_t>()[i] = int32_t(i * stride);
  return {axis.index.to(device), axis.weight.to(device)};
}

Tensor decimated(const DecimateStep& s, const Tensor& pictures) {
  RELUME_CHECK(s.stride >= 1, "decimate: stride ", s.stride);
  const Tensor x = as_batch(pictures, "decimate");
  const auto rows = decimated(x.shape(1), s.stride, x.device()), columns = decimated(x.shape(2), s.stride, x.device());
  const Tensor out =
      Tensor::empty({x.shape(0), rows.index.shape(0), columns.index.shape(0), x.shape(3)}, DType::f32, x.device());
  kernels::resample.on(x.device())(out, x, rows, columns);
  return with_rank_of(pictures, out);
}

// Normal deviates [H, W, 3] whose channels are mixed by a 3 x 3 matrix.
Tensor mixed_noise(const NoiseStep& s, const Tensor& x) {
  const FieldSeed* seed = std::get_if<FieldSeed>(&s.fields.colour);
  RELUME_CHECK(x.shape(0) == 1 && x.shape(3) == 3 && seed != nullptr && s.mixing.size() == 9, "noise of mixed channels: got ",
               x, ", expected one picture of three channels, a seed and nine numbers");
  const Tensor noise = Tensor::empty({x.shape(1), x.shape(2), 3});
  kernels::fill_normal.on(Device{})(noise, 0, 1, field_key(*seed));
  float* n = noise.data<float>();
  for (int64_t i = 0; i < noise.numel(); i += 3) {
    float mixed[3] = {};
    for (size_t c = 0; c < 3; ++c)
      for (size_t k = 0; k < 3; ++k) mixed[c] += float(s.mixing[3 * c + k]) * n[i + int64_t(k)];
    std::copy_n(mixed, 3, n + i);
  }
  return noise.to(x.device());
}

Tensor noisy(const NoiseStep& s, const Tensor& x) {
  if (s.kind == NoiseStep::Kind::poisson) return add_poisson_noise(x, s.strength, s.grey, s.fields);
  if (s.mixing.empty()) return add_gaussian_noise(x, s.strength, s.grey, s.fields);
  return add_gaussian_noise(x, s.strength, s.grey, {.colour = mixed_noise(s, as_batch(x, "noise")), .plane = {}});
}

Tensor with_jpeg(const JpegStep& s, const Tensor& x) {
  if (!s.real) return simulate_jpeg(x, s.quality, {.transposed_luma_table = s.transposed_luma_table});
  const Shape& shape = x.shape();
  RELUME_CHECK(s.quality.size() == 1 && (shape.rank() == 3 || shape[0] == 1), "real JPEG: got ", x, ", expected one picture");
  const Tensor picture = x.reshape({shape[-3], shape[-2], shape[-1]});
  return add_jpeg(picture, int(s.quality[0])).reshape(shape);
}

std::string label_of(const NoiseStep& s) {
  const bool gaussian = s.kind == NoiseStep::Kind::gaussian;
  const char* colour = s.grey.at(0) ? "grey" : s.mixing.empty() ? "colour" : "mixed channels";
  return gaussian ? fmt::format("Gaussian noise {:.1f}, {}", s.strength.at(0), colour)
                  : fmt::format("Poisson noise x {:.2f}, {}", s.strength.at(0), colour);
}

}  // namespace

Tensor apply_step(const Step& step, const Tensor& pictures) {
  return std::visit(Overloaded{[&](const BlurStep& s) { return blur(pictures, s.kernels); },
                               [&](const ResizeStep& s) { return resized(s, pictures); },
                               [&](const DecimateStep& s) { return decimated(s, pictures); },
                               [&](const NoiseStep& s) { return noisy(s, pictures); },
                               [&](const JpegStep& s) { return with_jpeg(s, pictures); },
                               [&](const ClampStep&) { return clamp_to_unit(pictures); },
                               [&](const LevelsStep&) { return round_to_levels(pictures); }},
                    step);
}

std::string label(const Step& step) {
  return std::visit(
      Overloaded{
          [](const BlurStep& s) { return "blur: " + s.kernels.at(0).label; },
          [](const ResizeStep& s) { return fmt::format("{} to {} x {}", name_of(s.method), s.width, s.height); },
          [](const DecimateStep& s) { return fmt::format("one pixel of {0} x {0}", s.stride); },
          [](const NoiseStep& s) { return label_of(s); },
          [](const JpegStep& s) { return fmt::format("{} {:.0f}", s.real ? "JPEG" : "simulated JPEG", s.quality.at(0)); },
          [](const ClampStep&) { return std::string("clamp"); }, [](const LevelsStep&) { return std::string("8-bit levels"); }},
      step);
}

Tensor apply_steps(const std::vector<Step>& steps, const Tensor& pictures) {
  Tensor x = pictures;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto* blurring = std::get_if<BlurStep>(&steps[i]);
    const auto* resizing = i + 1 < steps.size() ? std::get_if<ResizeStep>(&steps[i + 1]) : nullptr;
    x = blurring && resizing ? blur(x, blurring->kernels, rows_read(*resizing, x.shape(-3))) : apply_step(steps[i], x);
  }
  return x;
}

}  // namespace relume
