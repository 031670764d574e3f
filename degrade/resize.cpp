#include "degrade/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "degrade/picture.h"

namespace relume {
namespace {

// For each output position along one axis, `taps` source indices (not decreasing) and weights.
struct Axis {
  int64_t taps = 0;
  std::vector<int64_t> index;
  std::vector<float> weight;
};

// Source position of output i: floor and fraction.
struct Position {
  int64_t floor;
  float fraction;
};
Position centre_of(int64_t i, double scale) {
  const double position = (double(i) + 0.5) * scale - 0.5, floor = std::floor(position);
  return {int64_t(floor), float(position - floor)};
}

Axis linear_axis(int64_t in, int64_t out, bool area) {
  Axis axis{2, {}, {}};
  const double scale = double(in) / double(out);
  for (int64_t i = 0; i < out; ++i) {
    Position p = centre_of(i, scale);
    if (area) {
      const int64_t floor = int64_t(std::floor(double(i) * scale));
      const float past = float(double(i + 1) - double(floor + 1) / scale);
      p = {floor, past <= 0 ? 0 : past - std::floor(past)};
    }
    if (p.floor < 0) p = {0, 0};
    if (p.floor >= in - 1) p = {in - 1, 0};
    axis.index.insert(axis.index.end(), {p.floor, std::min(p.floor + 1, in - 1)});
    axis.weight.insert(axis.weight.end(), {1 - p.fraction, p.fraction});
  }
  return axis;
}

Axis cubic_axis(int64_t in, int64_t out) {
  constexpr float a = -0.75f;
  const auto near = [](float x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };       // |x| <= 1
  const auto far = [](float x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };  // 1 < |x| < 2
  Axis axis{4, {}, {}};
  const double scale = double(in) / double(out);
  for (int64_t i = 0; i < out; ++i) {
    const auto [floor, x] = centre_of(i, scale);
    const float w0 = far(x + 1), w1 = near(x), w2 = near(1 - x);
    for (int64_t tap = -1; tap <= 2; ++tap) axis.index.push_back(std::clamp<int64_t>(floor + tap, 0, in - 1));
    axis.weight.insert(axis.weight.end(), {w0, w1, w2, 1 - w0 - w1 - w2});
  }
  return axis;
}

// Boxes [i * scale, (i + 1) * scale) with their fractional ends, for out <= in.
Axis area_axis(int64_t in, int64_t out) {
  const double scale = double(in) / double(out);
  Axis axis{int64_t(std::ceil(scale)) + 1, {}, {}};
  for (int64_t i = 0; i < out; ++i) {
    const double begin = double(i) * scale, end = begin + scale, width = std::min(scale, double(in) - begin);
    const int64_t last = std::min(int64_t(std::floor(end)), in - 1), first = std::min(int64_t(std::ceil(begin)), last);
    int64_t taps = 0;
    const auto add = [&](int64_t index, double covered) {
      axis.index.push_back(index);
      axis.weight.push_back(float(covered / width));
      ++taps;
    };
    constexpr double sliver = 1e-3;  // OpenCV leaves out smaller ends
    if (double(first) - begin > sliver) add(first - 1, double(first) - begin);
    for (int64_t k = first; k < last; ++k) add(k, 1);
    if (end - double(last) > sliver) add(last, std::min({end - double(last), 1.0, width}));
    RELUME_BUG(taps >= 1 && taps <= axis.taps, "area_axis: ", taps, " taps from ", in, " to ", out);
    for (const int64_t index = axis.index.back(); taps < axis.taps;) add(index, 0);
  }
  return axis;
}

Axis make_axis(int64_t in, int64_t out, OpencvResize mode, bool shrinks) {
  if (mode == OpencvResize::cubic) return cubic_axis(in, out);
  return mode == OpencvResize::area && shrinks ? area_axis(in, out) : linear_axis(in, out, mode == OpencvResize::area);
}

// One row: Channels and Taps of zero mean "as many as there are".
template <int Channels, int Taps> void resize_row(const float* in, float* out, const Axis& axis, int64_t channels_given) {
  const int64_t channels = Channels ? Channels : channels_given, taps = Taps ? Taps : axis.taps;
  const int64_t* index = axis.index.data();
  const float* weight = axis.weight.data();
  for (const float* const end = weight + axis.weight.size(); weight < end; weight += taps, index += taps, out += channels)
    for (int64_t c = 0; c < channels; ++c) {
      float sum = 0;
      for (int64_t t = 0; t < taps; ++t) sum += weight[t] * in[index[t] * channels + c];
      out[c] = sum;
    }
}

using ResizeRow = void(const float*, float*, const Axis&, int64_t);
ResizeRow* row_resizer(int64_t channels, int64_t taps) {
  if (channels == 3) return taps == 2 ? resize_row<3, 2> : taps == 4 ? resize_row<3, 4> : resize_row<3, 0>;
  return taps == 2 ? resize_row<0, 2> : resize_row<0, 0>;
}

}  // namespace

Tensor resize_opencv(const Tensor& image, int64_t height, int64_t width, OpencvResize mode) {
  const Tensor x = checked_picture(image, "resize_opencv");
  RELUME_CHECK(height >= 1 && width >= 1, "resize_opencv: ", image, " cannot become ", height, " x ", width, " pixels");
  if (height == x.shape(0) && width == x.shape(1)) return x;
  const int64_t channels = x.shape(2), length = width * channels;
  const bool shrinks = height <= x.shape(0) && width <= x.shape(1);
  const Axis rows = make_axis(x.shape(0), height, mode, shrinks), columns = make_axis(x.shape(1), width, mode, shrinks);
  ResizeRow* const resize_one = row_resizer(channels, columns.taps);

  // Source rows are resized when first needed and kept in a ring as long as an output row can reach back to them.
  int64_t reach = 1;
  for (int64_t y = 0; y < height; ++y)
    reach = std::max(reach, rows.index[size_t((y + 1) * rows.taps - 1)] - rows.index[size_t(y * rows.taps)] + 1);
  std::vector<float> ring(size_t(reach * length));
  std::vector<int64_t> held(size_t(reach), -1);

  Tensor out = Tensor::empty({height, width, channels});
  for (int64_t y = 0; y < height; ++y) {
    float* const to = out.data<float>() + y * length;
    std::fill_n(to, length, 0.0f);
    for (int64_t t = y * rows.taps; t < (y + 1) * rows.taps; ++t) {
      const int64_t source = rows.index[size_t(t)], slot = source % reach;
      const float weight = rows.weight[size_t(t)];
      if (weight == 0) continue;
      float* const from = ring.data() + slot * length;
      if (held[size_t(slot)] != source) {
        resize_one(x.data<float>() + source * x.shape(1) * channels, from, columns, channels);
        held[size_t(slot)] = source;
      }
      for (int64_t i = 0; i < length; ++i) to[i] += weight * from[i];
    }
  }
  return out;
}

int64_t reduced_side(int64_t side, double factor) {
  RELUME_CHECK(factor > 0 && std::isfinite(factor), "reduced_side: factor ", factor, ", expected a positive number");
  return std::llround((double(side) - std::fmod(double(side), factor)) / factor);
}

}  // namespace relume
