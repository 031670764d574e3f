#include "data/metrics/niqe.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "data/crop.h"
#include "data/metrics/luma.h"
#include "data/metrics/niqe_model.h"
#include "data/metrics/symmetric.h"
#include "data/resize.h"

namespace relume {
namespace {

constexpr int64_t block_size = 96;
constexpr int features_per_scale = niqe_features / 2;

// f32 products that no compiler fuses with the sum they enter.
float product(float a, float b) { return float(double(a) * double(b)); }

// 7x7 Gaussian of sigma 7/6, border replicated; sums in double, stored as float.
std::vector<float> smoothed(const std::vector<float>& in, int64_t height, int64_t width) {
  constexpr int64_t radius = 3;
  std::array<double, 2 * radius + 1> weights{};
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i) sum += weights[size_t(i + radius)] = std::exp(-0.5 * double(i * i) * 36 / 49);
  for (double& w : weights) w /= sum;

  std::vector<float> out(in.size());
  std::vector<double> column(size_t(width + 2 * radius));
  for (int64_t y = 0; y < height; ++y) {
    std::ranges::fill(column, 0.0);
    for (int64_t i = -radius; i <= radius; ++i) {
      const float* const row = in.data() + std::clamp<int64_t>(y + i, 0, height - 1) * width;
      for (int64_t x = 0; x < width; ++x) column[size_t(x + radius)] += weights[size_t(i + radius)] * double(row[x]);
    }
    std::fill_n(column.begin(), radius, column[size_t(radius)]);
    std::fill_n(column.end() - radius, radius, column[size_t(width + radius - 1)]);
    for (int64_t x = 0; x < width; ++x) {
      double value = 0;
      for (int64_t i = 0; i <= 2 * radius; ++i) value += weights[size_t(i)] * column[size_t(x + i)];
      out[size_t(y * width + x)] = float(value);
    }
  }
  return out;
}

// (I - mu) / (sigma + 1), in f32 step by step.
std::vector<float> contrast_normalised(const Tensor& channel) {
  const int64_t height = channel.shape(0), width = channel.shape(1);
  const std::vector<float> in(channel.data<float>(), channel.data<float>() + channel.numel());
  std::vector<float> squares(in.size());
  std::ranges::transform(in, squares.begin(), [](float v) { return product(v, v); });
  const std::vector<float> mean = smoothed(in, height, width), mean_square = smoothed(squares, height, width);
  std::vector<float> out(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    const float sigma = std::sqrt(std::abs(mean_square[i] - product(mean[i], mean[i])));
    out[i] = (in[i] - mean[i]) / (sigma + 1);
  }
  return out;
}

// Candidate shapes g = 0.2, 0.201, ..., 10 of a generalised Gaussian and G(2/g)^2 / (G(1/g) G(3/g)), which grows with g.
struct Shapes {
  static constexpr int count = 9801;
  std::array<double, count> shape, ratio;
  Shapes() {
    for (int i = 0; i < count; ++i) {
      const double g = shape[size_t(i)] = 0.2 + 0.001 * i;
      ratio[size_t(i)] = std::pow(std::tgamma(2 / g), 2) / (std::tgamma(1 / g) * std::tgamma(3 / g));
    }
  }
  // The shape whose ratio is nearest; the first one for NaN, as an argmin gives it.
  double nearest(double wanted) const {
    if (std::isnan(wanted)) return shape[0];
    const auto above = size_t(std::ranges::lower_bound(ratio, wanted) - ratio.begin());
    if (above == 0) return shape[0];
    if (above == ratio.size()) return shape.back();
    return ratio[above] - wanted < wanted - ratio[above - 1] ? shape[above] : shape[above - 1];
  }
};

// An asymmetric generalised Gaussian fitted to samples.
struct Fit {
  double shape, left, right;
};
class Moments {
 public:
  void add(float sample) {
    const double v = sample;
    absolute_ += std::abs(v);
    (v < 0 ? left_ : right_) += v * v;
    left_count_ += v < 0;
    right_count_ += v > 0;
    ++count_;
  }
  Fit fit() const {
    static const Shapes shapes;
    const double left = std::sqrt(left_ / left_count_), right = std::sqrt(right_ / right_count_), g = left / right;
    const double mean = absolute_ / count_, r = mean * mean / ((left_ + right_) / count_);
    const double shape = shapes.nearest(r * (g * g * g + 1) * (g + 1) / ((g * g + 1) * (g * g + 1)));
    const double width = std::sqrt(std::tgamma(1 / shape) / std::tgamma(3 / shape));
    return {shape, left * width, right * width};
  }

 private:
  double absolute_ = 0, left_ = 0, right_ = 0, left_count_ = 0, right_count_ = 0, count_ = 0;
};

// Rows of `width` floats from `block` on.
std::array<double, features_per_scale> features_of(const float* block, int64_t size, int64_t width) {
  std::array<double, features_per_scale> features{};
  Moments alone;
  for (int64_t y = 0; y < size; ++y)
    for (int64_t x = 0; x < size; ++x) alone.add(block[y * width + x]);
  const Fit whole = alone.fit();
  features[0] = whole.shape;
  features[1] = (whole.left + whole.right) / 2;
  auto next = features.begin() + 2;
  for (const auto& [down, across] : {std::pair{0, 1}, {1, 0}, {1, 1}, {1, -1}}) {
    Moments pairs;
    for (int64_t y = 0; y < size; ++y) {
      const float *const row = block + y * width, *const other = block + (y + size - down) % size * width;
      for (int64_t x = 0; x < size; ++x) pairs.add(product(row[x], other[(x + size - across) % size]));
    }
    const Fit f = pairs.fit();
    for (const double v :
         {f.shape, (f.right - f.left) * (std::tgamma(2 / f.shape) / std::tgamma(1 / f.shape)), f.left, f.right})
      *next++ = v;
  }
  return features;
}

using Features = std::array<double, niqe_features>;
bool is_usable(const Features& f) {
  return std::ranges::none_of(f, [](double v) { return std::isnan(v); });
}

// Of each feature, over the blocks where it is a number.
Features mean_without_nan(const std::vector<Features>& blocks) {
  Features mean{};
  for (size_t k = 0; k < mean.size(); ++k) {
    double sum = 0, count = 0;
    for (const Features& block : blocks)
      if (!std::isnan(block[k])) sum += block[k], ++count;
    mean[k] = sum / count;
  }
  return mean;
}

std::vector<double> covariance(const std::vector<Features>& blocks) {
  constexpr auto n = size_t(niqe_features);
  const Features mean = mean_without_nan(blocks);
  std::vector<double> out(n * n, 0);
  for (const Features& block : blocks)
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) out[i * n + j] += (block[i] - mean[i]) * (block[j] - mean[j]);
  for (double& v : out) v /= double(blocks.size() - 1);
  return out;
}

double distance_from_pristine(const std::vector<Features>& blocks, const std::vector<Features>& usable) {
  constexpr auto n = size_t(niqe_features);
  const Features mean = mean_without_nan(blocks);
  std::vector<double> average = covariance(usable), difference(n);
  auto pristine = niqe_pristine_covariance.begin();
  for (size_t i = 0; i < n; ++i) {
    difference[i] = niqe_pristine_mean[i] - mean[i];
    for (size_t j = i; j < n; ++j, ++pristine) average[i * n + j] = average[j * n + i] = (average[i * n + j] + *pristine) / 2;
  }
  return std::sqrt(inverse_quadratic_form(average, difference));
}

}  // namespace

Tensor niqe_channel(const Tensor& image, NiqeChannel channel) {
  RELUME_CHECK(image && image.rank() == 3 && image.shape(2) == 3 && image.dtype() == DType::u8 && image.device() == Device{},
               "niqe: expects a picture, u8 cpu [H, W, 3], got ", image);
  const Tensor from = image.contiguous(), out = Tensor::empty({image.shape(0), image.shape(1), 1});
  const uint8_t* pixel = from.data<uint8_t>();
  for (float& value : std::span(out.data<float>(), size_t(out.numel()))) {
    const float r = float(pixel[0]) / 255, g = float(pixel[1]) / 255, b = float(pixel[2]) / 255;
    pixel += 3;
    const float level = channel == NiqeChannel::luma ? float(luma(r, g, b) / 255)
                                                     : float(0.299 * double(r) + 0.587 * double(g) + 0.114 * double(b));
    value = std::nearbyint(level * 255);
  }
  return out;
}

Tensor niqe_half(const Tensor& channel) {
  Tensor unit = empty_like(channel);
  std::transform(channel.data<float>(), channel.data<float>() + channel.numel(), unit.data<float>(),
                 [](float v) { return v / 255; });
  const Tensor half = imresize_matlab(unit, 0.5);
  std::transform(half.data<float>(), half.data<float>() + half.numel(), half.data<float>(), [](float v) { return v * 255; });
  return half;
}

std::vector<std::array<double, features_per_scale>> niqe_block_features(const Tensor& channel, int64_t size) {
  const std::vector<float> normalised = contrast_normalised(channel);
  const int64_t width = channel.shape(1);
  std::vector<std::array<double, features_per_scale>> out;
  for (int64_t y = 0; y + size <= channel.shape(0); y += size)
    for (int64_t x = 0; x + size <= width; x += size)
      out.push_back(features_of(normalised.data() + y * width + x, size, width));
  return out;
}

std::optional<double> niqe(const Tensor& image, const NiqeOptions& options) {
  const Tensor channel = niqe_channel(image, options.channel);
  const int64_t crop = options.crop;
  RELUME_CHECK(crop >= 0 && crop <= std::max(channel.shape(0), channel.shape(1)), "niqe: a border of ", crop, " for ", image);
  const auto whole_blocks = [&](int axis) {
    return std::max<int64_t>(channel.shape(axis) - 2 * crop, 0) / block_size * block_size;
  };
  const int64_t height = whole_blocks(0), width = whole_blocks(1);
  if (height == 0 || width == 0) return std::nullopt;
  const Tensor inside = cut(channel, crop, crop, height, width);
  const auto coarse = niqe_block_features(niqe_half(inside), block_size / 2), fine = niqe_block_features(inside, block_size);

  std::vector<Features> blocks(fine.size()), usable;
  for (size_t i = 0; i < blocks.size(); ++i) {
    std::ranges::copy(fine[i], blocks[i].begin());
    std::ranges::copy(coarse[i], blocks[i].begin() + features_per_scale);
    if (is_usable(blocks[i])) usable.push_back(blocks[i]);
  }
  if (usable.size() < 2) return std::nullopt;
  return distance_from_pristine(blocks, usable);
}

}  // namespace relume
