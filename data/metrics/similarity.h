// PSNR and SSIM of two pictures (spec metrics 1). Pictures are [H, W, 3], u8 or f32 in [0, 1], both alike in size; a published
// table rounds to 8 bit first. All arithmetic in double.
#pragma once

#include "tensor/core/tensor.h"

namespace relume {

enum class MetricChannels {
  rgb,
  luma,  // Y of BT.601, 16 + 65.481 R + 128.553 G + 24.966 B, not rounded
};

enum class SsimWindow {
  gauss,    // 11x11, sigma 1.5: published tables, BasicSR
  uniform,  // 7x7 with unbiased variances: scikit-image's default
};

struct MetricOptions {
  MetricChannels channels = MetricChannels::rgb;
  int64_t crop = 0;  // pixels left out at every border
  SsimWindow ssim_window = SsimWindow::gauss;
};

// 10 log10(1 / (mse + 1e-8)), mse on the scale of [0, 1]: the reference's validation metric, 80 dB for equal pictures.
double psnr(const Tensor& a, const Tensor& b, const MetricOptions& options = {});

// 10 log10(1 / mse), infinite for equal pictures: what published tables state.
double psnr_exact(const Tensor& a, const Tensor& b, const MetricOptions& options = {});

// Structural similarity on the window's valid region, C1 = 0.01^2, C2 = 0.03^2 on the scale of [0, 1], mean over positions and
// channels. Throws InputError when a side, less the border, is shorter than the window.
double ssim(const Tensor& a, const Tensor& b, const MetricOptions& options = {});

}  // namespace relume
