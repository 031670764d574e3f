#include "data/metrics/similarity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "data/metrics/luma.h"

namespace relume {
namespace {

// One channel of a picture without its border, read row by row on the scale of 0..255.
class Plane {
 public:
  static constexpr int luma = -1;
  Plane(const Tensor& image, int channel, int64_t crop)
      : height(image.shape(0) - 2 * crop), width(image.shape(1) - 2 * crop), image_(image), channel_(channel), crop_(crop) {}

  void read_row(int64_t y, double* to) const {
    if (image_.dtype() == DType::u8)
      read_row<uint8_t>(y, 1, to);
    else
      read_row<float>(y, 255, to);
  }

  const int64_t height, width;

 private:
  template <class T> void read_row(int64_t y, double scale, double* to) const {
    const T* from = image_.data<T>() + ((y + crop_) * image_.shape(1) + crop_) * 3;
    if (channel_ != luma) {
      for (int64_t x = 0; x < width; ++x) to[x] = double(from[3 * x + channel_]) * scale;
      return;
    }
    for (int64_t x = 0; x < width; ++x) {
      const double r = double(from[3 * x]), g = double(from[3 * x + 1]), b = double(from[3 * x + 2]);
      to[x] = relume::luma(r * scale / 255, g * scale / 255, b * scale / 255);
    }
  }

  const Tensor& image_;
  const int channel_;
  const int64_t crop_;
};

// Calls f(plane of a, plane of b) for each channel that counts; returns their number.
template <class F> int for_each_plane(const char* metric, const Tensor& a, const Tensor& b, const MetricOptions& options, F f) {
  for (const Tensor& t : {a, b})
    RELUME_CHECK(
        t && t.rank() == 3 && t.shape(2) == 3 && (t.dtype() == DType::u8 || t.dtype() == DType::f32) && t.device() == Device{},
        metric, ": expects a picture, u8 or f32 cpu [H, W, 3], got ", t);
  RELUME_CHECK(a.shape() == b.shape(), metric, ": the pictures differ in size: ", a.shape(), " and ", b.shape());
  RELUME_CHECK(options.crop >= 0 && 2 * options.crop < a.shape(0) && 2 * options.crop < a.shape(1), metric, ": a border of ",
               options.crop, " leaves nothing of ", a);
  const Tensor x = a.contiguous(), y = b.contiguous();
  if (options.channels == MetricChannels::luma) {
    f(Plane(x, Plane::luma, options.crop), Plane(y, Plane::luma, options.crop));
    return 1;
  }
  for (int c = 0; c < 3; ++c) f(Plane(x, c, options.crop), Plane(y, c, options.crop));
  return 3;
}

double mean_squared_error(const char* metric, const Tensor& a, const Tensor& b, const MetricOptions& options) {
  double sum = 0;
  int64_t count = 0;
  for_each_plane(metric, a, b, options, [&](const Plane& p, const Plane& q) {
    std::vector<double> u(static_cast<size_t>(p.width)), v(u.size());
    for (int64_t y = 0; y < p.height; ++y) {
      p.read_row(y, u.data());
      q.read_row(y, v.data());
      for (size_t x = 0; x < u.size(); ++x) sum += (u[x] - v[x]) * (u[x] - v[x]);
    }
    count += p.height * p.width;
  });
  return sum / double(count) / (255.0 * 255.0);
}

struct Window {
  std::vector<double> weights;   // along one axis
  double covariance_factor = 1;  // from weighted means to the variances that are compared
};
Window window_of(SsimWindow kind) {
  if (kind == SsimWindow::uniform) return {std::vector<double>(7, 1.0 / 7), 49.0 / 48};
  std::vector<double> weights;
  double sum = 0;
  for (int i = -5; i <= 5; ++i) sum += weights.emplace_back(std::exp(-0.5 * i * i / (1.5 * 1.5)));
  for (double& w : weights) w /= sum;
  return {weights};
}

void add_scaled(std::vector<double>& sum, double weight, const double* from) {
  double* __restrict to = sum.data();
  for (size_t x = 0; x < sum.size(); ++x) to[x] += weight * from[x];
}

// The window is separable, and the two variances are needed only as their sum: four maps instead of five. Rows filtered along
// x wait in a ring until the filter along y has used them.
double ssim_of_plane(const Plane& a, const Plane& b, const Window& window) {
  const size_t taps = window.weights.size();
  constexpr double c1 = 0.01 * 255 * 0.01 * 255, c2 = 0.03 * 255 * 0.03 * 255;
  enum { mean_a, mean_b, squares, product, maps };
  const int64_t out_width = a.width - int64_t(taps) + 1;
  const auto out_size = static_cast<size_t>(out_width), in_size = static_cast<size_t>(a.width);
  std::vector<std::array<std::vector<double>, maps>> ring(taps);
  for (auto& rows : ring) rows.fill(std::vector<double>(out_size));
  std::array<std::vector<double>, maps> in, out;
  in.fill(std::vector<double>(in_size));
  out.fill(std::vector<double>(out_size));

  double total = 0;
  for (int64_t y = 0; y < a.height; ++y) {
    a.read_row(y, in[mean_a].data());
    b.read_row(y, in[mean_b].data());
    for (size_t x = 0; x < in_size; ++x) {
      const double p = in[mean_a][x], q = in[mean_b][x];
      in[squares][x] = p * p + q * q;
      in[product][x] = p * q;
    }
    for (size_t m = 0; m < maps; ++m) {
      std::vector<double>& row = ring[size_t(y) % taps][m];
      std::ranges::fill(row, 0.0);
      for (size_t k = 0; k < taps; ++k) add_scaled(row, window.weights[k], in[m].data() + k);
    }
    if (size_t(y) + 1 < taps) continue;
    for (size_t m = 0; m < maps; ++m) {
      std::ranges::fill(out[m], 0.0);
      for (size_t k = 0; k < taps; ++k) add_scaled(out[m], window.weights[k], ring[(size_t(y) + 1 + k) % taps][m].data());
    }
    for (size_t x = 0; x < out_size; ++x) {
      const double mu_a = out[mean_a][x], mu_b = out[mean_b][x], mu_ab = mu_a * mu_b, mu_squares = mu_a * mu_a + mu_b * mu_b;
      const double covariance = window.covariance_factor * (out[product][x] - mu_ab),
                   variances = window.covariance_factor * (out[squares][x] - mu_squares);
      total += (2 * mu_ab + c1) * (2 * covariance + c2) / ((mu_squares + c1) * (variances + c2));
    }
  }
  return total / (double(a.height - int64_t(taps) + 1) * double(out_width));
}

}  // namespace

double psnr(const Tensor& a, const Tensor& b, const MetricOptions& options) {
  return 10 * std::log10(1 / (mean_squared_error("psnr", a, b, options) + 1e-8));
}

double psnr_exact(const Tensor& a, const Tensor& b, const MetricOptions& options) {
  return 10 * std::log10(1 / mean_squared_error("psnr_exact", a, b, options));
}

double ssim(const Tensor& a, const Tensor& b, const MetricOptions& options) {
  const Window window = window_of(options.ssim_window);
  const auto side = int64_t(window.weights.size());
  double sum = 0;
  const int planes = for_each_plane("ssim", a, b, options, [&](const Plane& p, const Plane& q) {
    RELUME_CHECK(p.height >= side && p.width >= side, "ssim: needs at least ", side, "x", side,
                 " pixels inside the border, got ", p.width, "x", p.height);
    sum += ssim_of_plane(p, q, window);
  });
  return sum / planes;
}

}  // namespace relume
