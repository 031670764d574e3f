#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>
#include <vector>

#include "base/rounding.h"
#include "data/picture_batch.h"
#include "tensor/kernels/picture.h"
#include "tensor/kernels/resample.h"

namespace relume {
namespace {

// What each output position along one axis is made of, gathered tap by tap.
class AxisBuilder {
 public:
  void add(int64_t index, double weight) {
    index_.push_back(int32_t(index));
    weight_.push_back(float(weight));
  }
  void finish_position() { ends_.push_back(index_.size()); }

  // The source positions that count, increasing.
  std::vector<int64_t> read() const {
    std::vector<int64_t> all;
    for (size_t i = 0; i < index_.size(); ++i)
      if (weight_[i] != 0) all.push_back(index_[i]);
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  kernels::ResampleAxis on(Device device) const {
    size_t taps = 0, begin = 0;
    for (const size_t end : ends_) taps = std::max(taps, end - std::exchange(begin, end));
    std::vector<int32_t> index;
    std::vector<float> weight;
    begin = 0;
    for (const size_t end : ends_) {
      index.insert(index.end(), index_.begin() + int64_t(begin), index_.begin() + int64_t(end));
      weight.insert(weight.end(), weight_.begin() + int64_t(begin), weight_.begin() + int64_t(end));
      index.resize(index.size() + taps - (end - begin), index_[end - 1]);
      weight.resize(index.size(), 0);
      begin = end;
    }
    const Shape shape{int64_t(ends_.size()), int64_t(taps)};
    return {Tensor::of(shape, index).to(device), Tensor::of(shape, weight).to(device)};
  }

 private:
  std::vector<int32_t> index_;
  std::vector<float> weight_;
  std::vector<size_t> ends_;
};

// The piecewise cubic of Keys at distance x.
double cubic(double x, double a) {
  x = std::abs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// The four pixels around a position `fraction` past pixel `floor`, those beyond the border replaced by the edge.
void add_cubic(AxisBuilder& axis, int64_t floor, double fraction, int64_t in) {
  constexpr double a = -0.75;
  for (int64_t tap = -1; tap <= 2; ++tap)
    axis.add(std::clamp<int64_t>(floor + tap, 0, in - 1), cubic(fraction - double(tap), a));
  axis.finish_position();
}
// The eight pixels around it, weights summing to one.
void add_lanczos(AxisBuilder& axis, int64_t floor, double fraction, int64_t in) {
  constexpr int64_t reach = 4;
  const auto sinc = [](double t) { return t == 0 ? 1 : std::sin(std::numbers::pi * t) / (std::numbers::pi * t); };
  const auto weight = [&](int64_t tap) {
    const double t = fraction - double(tap);
    return sinc(t) * sinc(t / reach);
  };
  double sum = 0;
  for (int64_t tap = 1 - reach; tap <= reach; ++tap) sum += weight(tap);
  for (int64_t tap = 1 - reach; tap <= reach; ++tap) axis.add(std::clamp<int64_t>(floor + tap, 0, in - 1), weight(tap) / sum);
  axis.finish_position();
}
void add_linear(AxisBuilder& axis, int64_t floor, double fraction, int64_t in) {
  axis.add(floor, 1 - fraction);
  axis.add(std::min(floor + 1, in - 1), fraction);
  axis.finish_position();
}

// OpenCV: positions in double, fractions in float.
AxisBuilder opencv_axis(int64_t in, int64_t out, OpencvResize mode) {
  AxisBuilder axis;
  const double scale = double(in) / double(out);
  for (int64_t i = 0; i < out; ++i) {
    double floor, fraction;
    if (mode == OpencvResize::area) {
      floor = std::floor(double(i) * scale);
      const float past = float(double(i + 1) - (floor + 1) / scale);
      fraction = past <= 0 ? 0 : past - std::floor(past);
    } else {
      const double position = (double(i) + 0.5) * scale - 0.5;
      floor = std::floor(position);
      fraction = float(position - floor);
    }
    if (mode == OpencvResize::cubic || mode == OpencvResize::lanczos) {
      (mode == OpencvResize::cubic ? add_cubic : add_lanczos)(axis, int64_t(floor), fraction, in);
      continue;
    }
    if (floor < 0) floor = fraction = 0;
    if (floor >= double(in - 1)) floor = double(in - 1), fraction = 0;
    add_linear(axis, int64_t(floor), fraction, in);
  }
  return axis;
}

// OpenCV: boxes [i * scale, (i + 1) * scale) with their fractional ends, for out <= in.
AxisBuilder opencv_box_axis(int64_t in, int64_t out) {
  AxisBuilder axis;
  const double scale = double(in) / double(out);
  for (int64_t i = 0; i < out; ++i) {
    const double begin = double(i) * scale, end = begin + scale, width = std::min(scale, double(in) - begin);
    const int64_t last = std::min(int64_t(std::floor(end)), in - 1), first = std::min(int64_t(std::ceil(begin)), last);
    constexpr double sliver = 1e-3;  // OpenCV leaves out smaller ends
    if (double(first) - begin > sliver) axis.add(first - 1, (double(first) - begin) / width);
    for (int64_t k = first; k < last; ++k) axis.add(k, 1 / width);
    if (end - double(last) > sliver) axis.add(last, std::min({end - double(last), 1.0, width}) / width);
    axis.finish_position();
  }
  return axis;
}

// PyTorch computes positions in f32; so do we, or `nearest` would choose other pixels.
// Bilinear and antialiased resizing copy a side that is kept, whatever the scale.
float torch_step(int64_t in, int64_t out, double scale, bool copies_kept) {
  return scale > 0 && !(copies_kept && in == out) ? float(1 / scale) : float(in) / float(out);
}

AxisBuilder torch_nearest_axis(int64_t in, int64_t out, float step, bool exact) {
  AxisBuilder axis;
  for (int64_t i = 0; i < out; ++i) {
    const float position = exact ? std::fma(step, float(i) + 0.5f, -0.5f) + 0.5f : step * float(i);
    axis.add(std::min(int64_t(std::floor(position)), in - 1), 1);
    axis.finish_position();
  }
  return axis;
}

AxisBuilder torch_area_axis(int64_t in, int64_t out) {
  AxisBuilder axis;
  for (int64_t i = 0; i < out; ++i) {
    const int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
    for (int64_t k = begin; k < end; ++k) axis.add(k, 1 / double(end - begin));
    axis.finish_position();
  }
  return axis;
}

AxisBuilder torch_interpolating_axis(int64_t in, int64_t out, float step, bool bicubic) {
  AxisBuilder axis;
  for (int64_t i = 0; i < out; ++i) {
    float position = step * (float(i) + 0.5f) - 0.5f;
    if (!bicubic) position = std::max(position, 0.0f);
    const int64_t floor = std::min(int64_t(std::floor(position)), in - 1);
    const double fraction = std::clamp(position - float(floor), 0.0f, 1.0f);
    bicubic ? add_cubic(axis, floor, fraction, in) : add_linear(axis, floor, fraction, in);
  }
  return axis;
}

AxisBuilder torch_antialiased_axis(int64_t in, int64_t out, float step, bool bicubic) {
  AxisBuilder axis;
  const float stretch = std::max(step, 1.0f), radius = (bicubic ? 2.0f : 1.0f) * stretch;
  const int64_t most = 2 * int64_t(std::ceil(radius)) + 1;
  std::vector<double> weights;
  for (int64_t i = 0; i < out; ++i) {
    const float centre = step * (float(i) + 0.5f);
    const int64_t begin = std::clamp<int64_t>(int64_t(centre - radius + 0.5f), 0, in - 1);
    const int64_t end = std::clamp(int64_t(centre + radius + 0.5f), begin + 1, std::min(in, begin + most));
    double sum = 0;
    weights.clear();
    for (int64_t k = begin; k < end; ++k) {
      const double distance = (double(k) - double(centre) + 0.5) / double(stretch);
      sum += weights.emplace_back(bicubic ? cubic(distance, -0.5) : std::max(0.0, 1 - std::abs(distance)));
    }
    for (int64_t k = begin; k < end; ++k) axis.add(k, sum != 0 ? weights[size_t(k - begin)] / sum : 0);
    axis.finish_position();
  }
  return axis;
}

// Taps beyond the border fall on their mirror images, so that a pixel may get several of them.
AxisBuilder matlab_axis(int64_t in, int64_t out, double factor) {
  AxisBuilder axis;
  const double stretch = std::max(1.0, 1 / factor), radius = 2 * stretch;
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (double(i) + 0.5) / factor - 0.5;
    std::vector<std::pair<int64_t, double>> taps;
    double sum = 0;
    for (auto k = int64_t(std::floor(centre - radius)); double(k) <= centre + radius; ++k) {
      const double weight = cubic((centre - double(k)) / stretch, -0.5);
      if (weight == 0) continue;
      const int64_t folded = ((k % (2 * in)) + 2 * in) % (2 * in);
      taps.emplace_back(std::min(folded, 2 * in - 1 - folded), weight);
      sum += weight;
    }
    std::ranges::sort(taps);
    for (size_t t = 0; t < taps.size(); ++t) {
      double weight = taps[t].second;
      for (; t + 1 < taps.size() && taps[t + 1].first == taps[t].first; ++t) weight += taps[t + 1].second;
      axis.add(taps[t].first, weight / sum);
    }
    axis.finish_position();
  }
  return axis;
}

AxisBuilder torch_axis(int64_t in, int64_t out, TorchResize mode, bool antialias, double scale) {
  if (mode == TorchResize::area) return torch_area_axis(in, out);
  const bool interpolates = mode == TorchResize::bilinear || mode == TorchResize::bicubic;
  const float step = torch_step(in, out, scale, antialias || mode == TorchResize::bilinear);
  if (!interpolates) return torch_nearest_axis(in, out, step, mode == TorchResize::nearest_exact);
  return (antialias ? torch_antialiased_axis : torch_interpolating_axis)(in, out, step, mode == TorchResize::bicubic);
}

void check_sides(const char* operation, const Tensor& pictures, int64_t height, int64_t width) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  RELUME_CHECK(height >= 1 && width >= 1 && height <= most && width <= most, operation, ": ", pictures, " cannot become ",
               height, " x ", width, " pixels");
}

Tensor resampled(const Tensor& pictures, const Tensor& x, int64_t height, int64_t width, const AxisBuilder& rows,
                 const AxisBuilder& columns) {
  const Tensor y = Tensor::empty({x.shape(0), height, width, x.shape(3)}, DType::f32, x.device());
  kernels::resample.on(x.device())(y, x, rows.on(x.device()), columns.on(x.device()));
  return with_rank_of(pictures, y);
}

// f(side * factor), where that is the size of a picture.
int64_t side_times(const char* operation, int64_t side, double factor, double (*rounded)(double)) {
  RELUME_CHECK(factor > 0 && std::isfinite(factor), operation, ": a factor of ", factor, "; expected a positive number");
  const double result = rounded(double(side) * factor);
  RELUME_CHECK(result >= 1 && result <= double(std::numeric_limits<int32_t>::max()), operation, ": ", side, " pixels times ",
               factor, " is no picture");
  return int64_t(result);
}

}  // namespace

Tensor resize_opencv(const Tensor& pictures, int64_t height, int64_t width, OpencvResize mode) {
  const Tensor x = as_batch(pictures, "resize_opencv");
  check_sides("resize_opencv", pictures, height, width);
  const int64_t in_height = x.shape(1), in_width = x.shape(2);
  if (height == in_height && width == in_width) return with_rank_of(pictures, x);
  if (mode == OpencvResize::area && height <= in_height && width <= in_width)
    return resampled(pictures, x, height, width, opencv_box_axis(in_height, height), opencv_box_axis(in_width, width));
  return resampled(pictures, x, height, width, opencv_axis(in_height, height, mode), opencv_axis(in_width, width, mode));
}

Tensor resize_torch(const Tensor& pictures, int64_t height, int64_t width, TorchResize mode,
                    const TorchResizeOptions& options) {
  const Tensor x = as_batch(pictures, "resize_torch");
  check_sides("resize_torch", pictures, height, width);
  const bool interpolates = mode == TorchResize::bilinear || mode == TorchResize::bicubic;
  RELUME_CHECK(!options.antialias || interpolates, "resize_torch: antialias is for bilinear and bicubic");
  return resampled(pictures, x, height, width, torch_axis(x.shape(1), height, mode, options.antialias, options.scale_y),
                   torch_axis(x.shape(2), width, mode, options.antialias, options.scale_x));
}

std::vector<int64_t> rows_read_opencv(int64_t height, int64_t to_height, OpencvResize mode) {
  return opencv_axis(height, to_height, mode).read();
}

std::vector<int64_t> rows_read_torch(int64_t height, int64_t to_height, TorchResize mode, const TorchResizeOptions& options) {
  return torch_axis(height, to_height, mode, options.antialias, options.scale_y).read();
}

Tensor resize_torch_by(const Tensor& pictures, double factor, TorchResize mode, bool antialias) {
  const Tensor x = as_batch(pictures, "resize_torch_by");
  const auto side = [&](int axis) { return side_times("resize_torch_by", x.shape(axis), factor, std::floor); };
  return resize_torch(pictures, side(1), side(2), mode, {.antialias = antialias, .scale_y = factor, .scale_x = factor});
}

Tensor resize_short_side(const Tensor& pictures, int64_t short_side) {
  const Tensor x = as_batch(pictures, "resize_short_side");
  const int64_t height = x.shape(1), width = x.shape(2);
  const double ratio = double(short_side) / double(std::min(height, width));
  const auto side = [&](int64_t length, int64_t other) {
    return length <= other ? short_side : side_times("resize_short_side", length, ratio, std::trunc);
  };
  return resize_torch(pictures, side(height, width), side(width, height), TorchResize::bicubic, {.antialias = true});
}

Tensor pad_to_multiple(const Tensor& pictures, int64_t multiple) {
  const Tensor x = as_batch(pictures, "pad_to_multiple");
  RELUME_CHECK(multiple >= 1 && multiple <= std::numeric_limits<int32_t>::max(), "pad_to_multiple: multiples of ", multiple,
               "; expected 1 or more");
  const auto side = [&](int axis) { return round_up(x.shape(axis), multiple); };
  check_sides("pad_to_multiple", pictures, side(1), side(2));
  const Tensor y = Tensor::empty({x.shape(0), side(1), side(2), x.shape(3)}, DType::f32, x.device());
  kernels::pad_forward.on(x.device())(y, x, 0, 0, kernels::Border::zero);
  return with_rank_of(pictures, y);
}

Tensor imresize_matlab(const Tensor& pictures, double factor) {
  const Tensor x = as_batch(pictures, "imresize_matlab");
  const int64_t height = side_times("imresize_matlab", x.shape(1), factor, std::ceil),
                width = side_times("imresize_matlab", x.shape(2), factor, std::ceil);
  return resampled(pictures, x, height, width, matlab_axis(x.shape(1), height, factor), matlab_axis(x.shape(2), width, factor));
}

int64_t reduced_side(int64_t side, double factor) {
  RELUME_CHECK(factor > 0 && std::isfinite(factor), "reduced_side: factor ", factor, ", expected a positive number");
  return std::llround((double(side) - std::fmod(double(side), factor)) / factor);
}

}  // namespace relume
