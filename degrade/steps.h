// Degradations as lists of steps in which everything is decided. A recipe draws such a list; carrying it out is a pure function
// of the pictures, batch by batch on whatever device they are.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "degrade/draws.h"
#include "degrade/kernels.h"
#include "degrade/noise.h"
#include "tensor/core/tensor.h"

namespace relume {

// Parameters that are lists hold one value for each picture of the batch.

struct BlurStep {
  std::vector<BlurKernel> kernels;
};

enum class ResizeMethod { opencv_linear, opencv_cubic, opencv_area, area, bilinear, bicubic, matlab_bicubic };
struct ResizeStep {
  ResizeMethod method = ResizeMethod::bilinear;
  int64_t height = 0, width = 0;
  double factor = 0;  // bilinear and bicubic: maps the coordinates in place of the ratio of the sizes (D2.6); 0: the ratio
};

// Every stride-th pixel, beginning with the first.
struct DecimateStep {
  int64_t stride = 1;
};

struct NoiseStep {
  enum class Kind { gaussian, poisson } kind = Kind::gaussian;
  std::vector<double> strength;  // gaussian: sigma in grey levels of 255; poisson: factor
  std::vector<bool> grey;        // the same noise for all channels
  NoiseFields fields;
  // Gaussian colour noise through this 3 x 3 matrix (row-major), unit variance where it is orthogonal; empty: independent
  // channels.
  std::vector<double> mixing;
};

struct JpegStep {
  std::vector<double> quality;
  bool real = false;  // by the codec, with the integer part of the quality; else simulated (D2.5, batch)
  bool transposed_luma_table = true;
};

struct ClampStep {};   // to [0, 1]
struct LevelsStep {};  // to multiples of 1/255 in [0, 1]

using Step = std::variant<BlurStep, ResizeStep, DecimateStep, NoiseStep, JpegStep, ClampStep, LevelsStep>;

// f32 RGB [H, W, 3] or [N, H, W, 3] -> the same rank. Throws an InputError where the step does not fit the batch.
Tensor apply_step(const Step& step, const Tensor& pictures);

// For people: "blur: aniso 21, 2.9 x 0.7 px at 35 deg", "bicubic to 213 x 213". Of the first picture, where they differ.
std::string label(const Step& step);

// All of them in order. A blur before a reduction that reads few of its pixels computes only those.
Tensor apply_steps(const std::vector<Step>& steps, const Tensor& pictures);

}  // namespace relume
