#include "infer/faces.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

// Slow waves: linear interpolation between their pixels is right to a thousandth.
Tensor smooth_picture(int64_t height, int64_t width) {
  Tensor picture = Tensor::empty({height, width, 3});
  float* out = picture.data<float>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int k = 0; k < 3; ++k) *out++ = float(0.5 + 0.3 * std::sin(double(x) / 30 + k) * std::cos(double(y) / 40 - k));
  return picture;
}

Similarity turned(double degrees, double enlargement, Point shift) {
  const double angle = degrees * std::numbers::pi / 180;
  return {enlargement * std::cos(angle), enlargement * std::sin(angle), shift};
}

Landmarks moved(const Landmarks& points, const Similarity& by) {
  Landmarks out;
  for (size_t i = 0; i < points.size(); ++i) out[i] = by(points[i]);
  return out;
}

void expect_near(const Similarity& s, const Similarity& expected, double tolerance) {
  EXPECT_NEAR(s.a, expected.a, tolerance);
  EXPECT_NEAR(s.b, expected.b, tolerance);
  EXPECT_NEAR(s.shift.x, expected.shift.x, 1000 * tolerance);
  EXPECT_NEAR(s.shift.y, expected.shift.y, 1000 * tolerance);
}

float at(const Tensor& picture, int64_t y, int64_t x, int64_t k = 0) {
  return picture.data<float>()[(y * picture.shape(1) + x) * picture.shape(2) + k];
}

TEST(Faces, ASimilarityIsFoundInThePointsItMoved) {
  expect_near(fit_similarity(face_template, face_template), {}, 1e-12);
  const Similarity known = turned(25, 0.3, {100, -20});
  expect_near(fit_similarity(moved(face_template, known), face_template), known.inverse(), 1e-9);
  Landmarks wrong = moved(face_template, known);
  wrong[2].x += 40, wrong[3].y -= 25;  // two points may lie anywhere
  expect_near(fit_similarity(wrong, face_template), known.inverse(), 1e-9);
  EXPECT_HAS(input_error([] { fit_similarity(Landmarks(), face_template); }), "coincide");
}

// Where all points are believed, no small change of the similarity brings them nearer.
TEST(Faces, NoisyPointsAreFitByLeastSquares) {
  Landmarks from = face_template;
  for (size_t i = 0; i < from.size(); ++i) from[i].x += double(i % 3) - 1, from[i].y -= double(i % 2);
  const auto distance = [&](const Similarity& s) {
    double sum = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      const Point p = s(from[i]);
      sum += std::pow(p.x - face_template[i].x, 2) + std::pow(p.y - face_template[i].y, 2);
    }
    return sum;
  };
  const Similarity best = fit_similarity(from, face_template);
  for (double Similarity::*part : {&Similarity::a, &Similarity::b})
    for (const double step : {-1e-4, 1e-4}) {
      Similarity other = best;
      other.*part += step;
      EXPECT_GT(distance(other), distance(best));
    }
}

TEST(Faces, AnInverseLeadsBack) {
  const Similarity s = turned(-40, 1.7, {30, 12});
  const Point p = s.inverse()(s({123, 45}));
  EXPECT_NEAR(p.x, 123, 1e-9);
  EXPECT_NEAR(p.y, 45, 1e-9);
  EXPECT_NEAR(s.enlargement() * s.inverse().enlargement(), 1, 1e-12);
}

TEST(Faces, AWarpInterpolatesAndHasABorder) {
  const Tensor picture = Tensor::of<float>({2, 2, 1}, {0, 1, 2, 3});
  const float border[] = {8};
  EXPECT_TRUE(same_bits(warped(picture, {}, 2, 2, border), picture));
  const Tensor half = warped(picture, {1, 0, {0.5, 0.25}}, 2, 2, border);
  EXPECT_FLOAT_EQ(at(half, 0, 0), 1.0f);                                       // 0.5 along, a quarter of 2 down
  EXPECT_FLOAT_EQ(at(half, 0, 1), 0.5f * (0.75f * 1 + 0.25f * 3) + 0.5f * 8);  // half of it beyond the border
  const Tensor quarter = warped(picture, {0, 1, {1, 0}}, 2, 2, border);        // (x, y) is read at (1 - y, x)
  EXPECT_EQ(at(quarter, 0, 0), 1);
  EXPECT_EQ(at(quarter, 0, 1), 3);
  EXPECT_EQ(at(quarter, 1, 0), 0);
}

TEST(Faces, TheSquareIsThePictureWhereTheFaceLies) {
  const Tensor picture = smooth_picture(700, 800);
  const Tensor square = aligned_face(picture, {1, 0, {-100, -50}});
  EXPECT_EQ(square.shape(), Shape({face_side, face_side, 3}));
  for (const int64_t y : {0, 17, 511})
    for (const int64_t x : {0, 300, 511}) EXPECT_EQ(at(square, y, x, 1), at(picture, y + 50, x + 100, 1));
  const Tensor outside = aligned_face(picture, {1, 0, {600, 600}});
  for (int64_t k = 0; k < 3; ++k) EXPECT_EQ(at(outside, 0, 0, k), float(std::vector{135, 133, 132}[size_t(k)]) / 255.0f);
}

// With a network that changes nothing: once there and back.
TEST(Faces, AFacePastedBackIsThePicture) {
  for (const Similarity& to_square :
       {Similarity{1, 0, {-100, -50}}, turned(20, 1.5, {-100, -200}), turned(-35, 0.8, {80, 150}), turned(10, 1.2, {60, 0})}) {
    const Tensor picture = smooth_picture(700, 800), kept = picture.clone();
    paste_face(picture, aligned_face(picture, to_square), to_square);
    double most = 0;
    constexpr int64_t border = 3;  // there a square that leaves the picture has the colour of what is outside
    for (int64_t y = border; y < 700 - border; ++y)
      for (int64_t x = border; x < 800 - border; ++x)
        for (int64_t k = 0; k < 3; ++k) most = std::max(most, double(std::abs(at(picture, y, x, k) - at(kept, y, x, k))));
    EXPECT_LT(most, 2e-3);
  }
}

// The square of side 512 loses a row and a column, then 50 pixels of its sides, and is blurred over 51: worked out by hand.
TEST(Faces, TheSeamIsAsWideAsPublished) {
  const Tensor picture = Tensor::full({700, 800, 3}, 0);
  paste_face(picture, Tensor::full({face_side, face_side, 3}, 1), {1, 0, {-100, -50}});
  const auto row = [&](int64_t x) { return at(picture, 300, x); };
  EXPECT_EQ(row(100), 0);  // the first column of the square
  EXPECT_GT(row(102), 0);
  EXPECT_LT(row(101 + 24), 0.5);
  EXPECT_GT(row(101 + 25), 0.5);        // the middle tap counts for the inner side
  EXPECT_NEAR(row(101 + 50), 1, 1e-5);  // inside
  EXPECT_NEAR(row(101 + 510 - 24 - 25), 1, 1e-5);
  EXPECT_GT(row(101 + 510 - 24), 0.5);
  EXPECT_LT(row(101 + 510 - 23), 0.5);
  EXPECT_EQ(row(612), 0);
}

TEST(Faces, AFaceBesideThePictureLeavesItAlone) {
  const Tensor picture = smooth_picture(600, 600), kept = picture.clone();
  paste_face(picture, Tensor::full({face_side, face_side, 3}, 1), {1, 0, {-5000, 0}});
  EXPECT_TRUE(same_bits(picture, kept));
}

}  // namespace
}  // namespace relume::test
