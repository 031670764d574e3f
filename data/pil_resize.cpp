#include "data/pil_resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace relume {
namespace {

constexpr int weight_bits = 22;
constexpr int32_t half = 1 << (weight_bits - 1);

double half_width(PilFilter filter) { return filter == PilFilter::box ? 0.5 : 2.0; }

double filter_value(PilFilter filter, double x) {
  if (filter == PilFilter::box) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// For every output position: first input position, number of taps, and where its weights start.
struct Taps {
  struct Window {
    int64_t first, count, weights;
  };
  std::vector<Window> windows;
  std::vector<int32_t> weights;
};

Taps make_taps(int64_t in, int64_t out, PilFilter filter) {
  const double scale = double(in) / double(out), stretch = std::max(scale, 1.0);
  const double radius = half_width(filter) * stretch, inverse = 1.0 / stretch;
  Taps taps;
  std::vector<double> exact;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (double(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, int64_t(centre - radius + 0.5));
    const int64_t last = std::min<int64_t>(in, int64_t(centre + radius + 0.5));
    exact.clear();
    double sum = 0;
    for (int64_t j = first; j < last; ++j) {
      exact.push_back(filter_value(filter, (double(j) - centre + 0.5) * inverse));
      sum += exact.back();
    }
    taps.windows.push_back({first, last - first, int64_t(taps.weights.size())});
    for (double w : exact) {
      if (sum != 0) w /= sum;
      taps.weights.push_back(int32_t((w < 0 ? -0.5 : 0.5) + w * (1 << weight_bits)));
    }
  }
  return taps;
}

uint8_t rounded(int32_t sum) { return uint8_t(std::clamp(sum >> weight_bits, 0, 255)); }

template <int Channels> void resize_row(uint8_t* out, const uint8_t* in, const Taps& taps) {
  for (const Taps::Window& window : taps.windows) {
    const uint8_t* pixel = in + window.first * Channels;
    const int32_t* weight = taps.weights.data() + window.weights;
    int32_t sum[Channels];
    for (int c = 0; c < Channels; ++c) sum[c] = half;
    for (int64_t k = 0; k < window.count; ++k, pixel += Channels)
      for (int c = 0; c < Channels; ++c) sum[c] += weight[k] * pixel[c];
    for (int c = 0; c < Channels; ++c) *out++ = rounded(sum[c]);
  }
}

Tensor resize_columns(const Tensor& image, int64_t width, PilFilter filter) {
  const int64_t h = image.shape(0), w = image.shape(1), channels = image.shape(2);
  const Taps taps = make_taps(w, width, filter);
  Tensor out = Tensor::empty({h, width, channels}, DType::u8);
  const auto resize = channels == 1   ? resize_row<1>
                      : channels == 2 ? resize_row<2>
                      : channels == 3 ? resize_row<3>
                                      : resize_row<4>;
  for (int64_t y = 0; y < h; ++y)
    resize(out.data<uint8_t>() + y * width * channels, image.data<uint8_t>() + y * w * channels, taps);
  return out;
}

Tensor resize_rows(const Tensor& image, int64_t height, PilFilter filter) {
  const int64_t row = image.shape(1) * image.shape(2);
  const Taps taps = make_taps(image.shape(0), height, filter);
  Tensor out = Tensor::empty({height, image.shape(1), image.shape(2)}, DType::u8);
  const uint8_t* in = image.data<uint8_t>();
  uint8_t* to = out.data<uint8_t>();
  std::vector<int32_t> sums(static_cast<size_t>(row));
  for (const Taps::Window& window : taps.windows) {
    std::ranges::fill(sums, half);
    for (int64_t k = 0; k < window.count; ++k) {
      const int32_t weight = taps.weights[size_t(window.weights + k)];
      const uint8_t* from = in + (window.first + k) * row;
      for (int64_t x = 0; x < row; ++x) sums[size_t(x)] += weight * from[x];
    }
    for (int64_t x = 0; x < row; ++x) to[x] = rounded(sums[size_t(x)]);
    to += row;
  }
  return out;
}

}  // namespace

Tensor pil_resize(const Tensor& image, int64_t height, int64_t width, PilFilter filter) {
  RELUME_CHECK(image && image.dtype() == DType::u8 && image.rank() == 3 && image.numel() > 0 && image.shape(2) <= 4,
               "pil_resize: expects u8 [H, W, C] with at most 4 channels, got ", image);
  RELUME_CHECK(height > 0 && width > 0, "pil_resize: a size of ", width, "x", height, " is empty");
  Tensor out = image.contiguous();
  if (width != out.shape(1)) out = resize_columns(out, width, filter);
  if (height != out.shape(0)) out = resize_rows(out, height, filter);
  return out;
}

}  // namespace relume
