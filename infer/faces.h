// Faces within a picture: from five points of each to an upright square, and back (spec/diffbir.md 5.10). Pictures are f32
// [H, W, C] on the CPU; the middle of their first pixel lies at 0.
#pragma once

#include <span>

#include "infer/landmarks.h"
#include "tensor/core/tensor.h"

namespace relume {

constexpr int64_t face_side = 512;  // of the squares, pixels
// Where the points of an upright face lie in its square.
constexpr Landmarks face_template{
    {{192.98138, 239.94708}, {318.90277, 240.1936}, {256.63416, 314.01935}, {201.26117, 371.41043}, {313.08905, 371.15118}}};

// (x, y) to (a x - b y + shift.x, b x + a y + shift.y): a turn, an enlargement and a shift.
struct Similarity {
  double a = 1, b = 0;
  Point shift;

  Point operator()(Point p) const { return {a * p.x - b * p.y + shift.x, b * p.x + a * p.y + shift.y}; }
  double enlargement() const;
  Similarity inverse() const;
};

// The similarity that leads points to others, of which two may lie anywhere: of those through two of the five pairs, the one
// with the least median of squared distances tells which points are to be believed, and least squares over these is the result.
// InputError where the points coincide.
Similarity fit_similarity(const Landmarks& from, const Landmarks& to);

// The picture [height, width, C] whose pixel p is the given one's at `where(p)`, interpolated linearly between four, of which
// those outside of it have the colour `border` (C values).
Tensor warped(const Tensor& picture, const Similarity& where, int64_t height, int64_t width, std::span<const float> border);

// The square of a face, [face_side, face_side, 3]; `to_square` leads from the picture's points to the template.
Tensor aligned_face(const Tensor& picture, const Similarity& to_square);

// Puts a square back into the picture that it was cut from, in place. It fades into the picture along its sides, over a
// twentieth of its width there.
void paste_face(const Tensor& picture, const Tensor& face, const Similarity& to_square);

}  // namespace relume
