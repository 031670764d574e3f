#include "infer/faces.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "degrade/filter.h"

namespace relume {
namespace {

constexpr float outside_face[] = {135 / 255.0f, 133 / 255.0f, 132 / 255.0f};
constexpr float nothing[] = {0, 0, 0};

double squared(double x) { return x * x; }

double squared_distance(const Similarity& s, const Point& from, const Point& to) {
  const Point p = s(from);
  return squared(p.x - to.x) + squared(p.y - to.y);
}

// Least squares over some of the points, whose places in the lists are given; none where these coincide.
std::optional<Similarity> least_squares(const Landmarks& from, const Landmarks& to, const std::vector<size_t>& chosen) {
  const auto middle = [&](const Landmarks& points) {
    Point sum;
    for (const size_t i : chosen) sum = {sum.x + points[i].x, sum.y + points[i].y};
    return Point{sum.x / double(chosen.size()), sum.y / double(chosen.size())};
  };
  const Point m = middle(from), n = middle(to);
  double along = 0, across = 0, spread = 0;
  for (const size_t i : chosen) {
    const double x = from[i].x - m.x, y = from[i].y - m.y, u = to[i].x - n.x, v = to[i].y - n.y;
    along += x * u + y * v, across += x * v - y * u, spread += x * x + y * y;
  }
  if (spread == 0 || (along == 0 && across == 0)) return {};
  Similarity s{along / spread, across / spread, {}};
  const Point turned = s(m);
  s.shift = {n.x - turned.x, n.y - turned.y};
  return s;
}

// Of the pixels [x - side / 2, x - side / 2 + side) along one axis, the least; those beyond the border do not count.
Tensor eroded_along(const Tensor& mask, int axis, int64_t side) {
  const Tensor out = Tensor::empty(mask.shape());
  const int64_t height = mask.shape(0), width = mask.shape(1);
  const int64_t length = mask.shape(axis), step = axis == 0 ? width : 1;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const int64_t at = y * width + x, place = axis == 0 ? y : x;
      const int64_t first = std::max<int64_t>(place - side / 2, 0), last = std::min(place - side / 2 + side, length);
      float least = std::numeric_limits<float>::max();
      for (int64_t i = first; i < last; ++i) least = std::min(least, mask.data<float>()[at + (i - place) * step]);
      out.data<float>()[at] = least;
    }
  return out;
}

Tensor eroded(const Tensor& mask, int64_t side) { return side < 2 ? mask : eroded_along(eroded_along(mask, 1, side), 0, side); }

// A Gaussian of 2 `radius` + 1 taps, with OpenCV's standard deviation for that size.
Tensor blurred(const Tensor& mask, int64_t radius) {
  if (radius == 0) return mask;
  const double sigma = 0.3 * (double(radius) - 1) + 0.8;
  std::vector<double> line;
  double sum = 0;
  for (int64_t i = -radius; i <= radius; ++i) sum += line.emplace_back(std::exp(-squared(double(i) / sigma) / 2));
  for (double& weight : line) weight /= sum;
  return filter_separable(mask, line, line);
}

// The part of a picture that a square may reach, and how much of it counts there.
struct Region {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

Region region_of(const Tensor& picture, const Similarity& to_square) {
  const Similarity back = to_square.inverse();
  double left = double(picture.shape(1)), top = double(picture.shape(0)), right = -1, bottom = -1;
  for (const double x : {-1.0, double(face_side)})
    for (const double y : {-1.0, double(face_side)}) {
      const Point p = back({x, y});
      left = std::min(left, p.x), right = std::max(right, p.x), top = std::min(top, p.y), bottom = std::max(bottom, p.y);
    }
  // The mask is blurred within its region: where that ends inside the picture, it ends in zeros.
  const double margin = 2 + double(face_side) / to_square.enlargement() / 20;
  const auto clipped = [](double side, int64_t length) { return int64_t(std::clamp(side, 0.0, double(length))); };
  Region r{.top = clipped(std::floor(top - margin), picture.shape(0)),
           .left = clipped(std::floor(left - margin), picture.shape(1))};
  r.height = clipped(std::ceil(bottom + margin), picture.shape(0)) - r.top;
  r.width = clipped(std::ceil(right + margin), picture.shape(1)) - r.left;
  return r;
}

}  // namespace

double Similarity::enlargement() const { return std::hypot(a, b); }

Similarity Similarity::inverse() const {
  const double square = a * a + b * b;
  Similarity back{a / square, -b / square, {}};
  const Point p = back(shift);
  back.shift = {-p.x, -p.y};
  return back;
}

// What OpenCV's estimateAffinePartial2D does by the method LMEDS, which draws pairs at random and refines by
// Levenberg-Marquardt: with five points all ten pairs are tried, and least squares has a closed form.
Similarity fit_similarity(const Landmarks& from, const Landmarks& to) {
  constexpr size_t count = std::tuple_size_v<Landmarks>;
  double least = std::numeric_limits<double>::infinity();
  std::optional<Similarity> best;
  for (size_t i = 0; i < count; ++i)
    for (size_t j = i + 1; j < count; ++j) {
      const std::optional<Similarity> s = least_squares(from, to, {i, j});
      if (!s) continue;
      std::array<double, count> errors;
      for (size_t k = 0; k < count; ++k) errors[k] = squared_distance(*s, from[k], to[k]);
      std::ranges::sort(errors);
      if (errors[count / 2] < least) least = errors[count / 2], best = s;
    }
  RELUME_CHECK(best, "a face's points coincide");
  // A robust standard deviation, and 2.5 of it.
  const double sigma = std::max(2.5 * 1.4826 * (1 + 5.0 / (count - 2)) * std::sqrt(least), 1e-3);
  std::vector<size_t> believed;
  for (size_t k = 0; k < count; ++k)
    if (squared_distance(*best, from[k], to[k]) <= squared(sigma)) believed.push_back(k);
  return least_squares(from, to, believed).value_or(*best);
}

Tensor warped(const Tensor& picture, const Similarity& where, int64_t height, int64_t width, std::span<const float> border) {
  const int64_t rows = picture.shape(0), columns = picture.shape(1), channels = picture.shape(2);
  RELUME_CHECK(int64_t(border.size()) >= channels, "a border of ", border.size(), " channels for a picture of ", channels);
  const Tensor out = Tensor::empty({height, width, channels});
  const float* const in = picture.data<float>();
  const auto pixel = [&](double x, double y) {
    const bool inside = x >= 0 && y >= 0 && x < double(columns) && y < double(rows);
    return inside ? in + (int64_t(y) * columns + int64_t(x)) * channels : border.data();
  };
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const Point p = where({double(x), double(y)});
      const double left = std::floor(p.x), top = std::floor(p.y);
      const float right = float(p.x - left), below = float(p.y - top);
      const float *a = pixel(left, top), *b = pixel(left + 1, top), *c = pixel(left, top + 1), *d = pixel(left + 1, top + 1);
      float* const to = out.data<float>() + (y * width + x) * channels;
      for (int64_t k = 0; k < channels; ++k)
        to[k] = (1 - below) * ((1 - right) * a[k] + right * b[k]) + below * ((1 - right) * c[k] + right * d[k]);
    }
  return out;
}

Tensor aligned_face(const Tensor& picture, const Similarity& to_square) {
  return warped(picture, to_square.inverse(), face_side, face_side, outside_face);
}

void paste_face(const Tensor& picture, const Tensor& face, const Similarity& to_square) {
  const Region r = region_of(picture, to_square);
  if (r.height <= 0 || r.width <= 0) return;
  Similarity where = to_square;  // from the region's pixels
  where.shift = to_square({double(r.left), double(r.top)});
  const Tensor placed = warped(face, where, r.height, r.width, nothing);
  const Tensor square = eroded(warped(Tensor::full({face_side, face_side, 1}, 1), where, r.height, r.width, nothing), 2);
  double area = 0;
  for (int64_t i = 0; i < square.numel(); ++i) area += double(square.data<float>()[i]);
  const int64_t edge = int64_t(std::sqrt(area)) / 20;
  const Tensor soft = blurred(eroded(square, 2 * edge), edge);
  for (int64_t y = 0; y < r.height; ++y)
    for (int64_t x = 0; x < r.width; ++x) {
      const int64_t at = y * r.width + x;
      const float share = soft.data<float>()[at], inside = square.data<float>()[at];
      float* const to = picture.data<float>() + ((r.top + y) * picture.shape(1) + r.left + x) * 3;
      if (share == 0) continue;  // the rest of the picture stays to the bit
      for (int64_t k = 0; k < 3; ++k) to[k] = share * (inside * placed.data<float>()[at * 3 + k]) + (1 - share) * to[k];
    }
}

}  // namespace relume
