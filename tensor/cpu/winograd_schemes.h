// The one-dimensional transforms of Winograd's filtering (winograd.cpp applies them to columns and to rows) for kernels of
// three taps: 4 results are made of `pixels` neighbours, which are transformed in place into as many factors, one for each
// place. The matrices are named as in Lavin & Gray 2016.
#pragma once

#include <array>

#include "tensor/cpu/gemm.h"

namespace relume::cpu::winograd {

// F(4, 3), at the points 0, 1, -1, 2, -2 and infinity.
struct EveryPixel {
  static constexpr int stride = 1, pixels = 6, filters = 6;
  // The filter that a place is multiplied with.
  static constexpr int filter_of(int place) { return place; }

  // x to B^T x.
  static void transform_input(Vec (&x)[6]) {
    const Vec a = x[4] - 4.f * x[2], b = x[3] - 4.f * x[1], c = x[4] - x[2], d = 2.f * (x[3] - x[1]);
    const Vec first = 4.f * x[0] - 5.f * x[2] + x[4], last = 4.f * x[1] - 5.f * x[3] + x[5];
    x[0] = first, x[1] = a + b, x[2] = a - b, x[3] = c + d, x[4] = c - d, x[5] = last;
  }
  // Products m to A^T m.
  static void transform_output(const Vec (&m)[6], Vec (&y)[4]) {
    const Vec a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    y[0] = m[0] + a + c, y[1] = b + 2.f * d, y[2] = a + 4.f * c, y[3] = b + 8.f * d + m[5];
  }
  // y to A y: what a gradient towards the results is towards the products.
  static void transform_gradient(const Vec (&y)[4], Vec (&z)[6]) {
    const Vec a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4.f * y[2], d = 2.f * y[1] + 8.f * y[3];
    z[0] = y[0], z[1] = a + b, z[2] = a - b, z[3] = c + d, z[4] = c - d, z[5] = y[3];
  }
  static constexpr double filter[6][3] = {{1. / 4, 0, 0},
                                          {-1. / 6, -1. / 6, -1. / 6},
                                          {-1. / 6, 1. / 6, -1. / 6},
                                          {1. / 24, 1. / 12, 1. / 6},
                                          {1. / 24, -1. / 12, 1. / 6},
                                          {0, 0, 1}};  // G
  // g to G g.
  static void transform_filter(const Vec (&g)[3], Vec (&u)[6]) {
    const Vec outer = (g[0] + g[2]) * float(-1. / 6), inner = g[1] * float(-1. / 6);
    const Vec far = g[0] * float(1. / 24) + g[2] * float(1. / 6), near = g[1] * float(1. / 12);
    u[0] = g[0] * 0.25f, u[1] = outer + inner, u[2] = outer - inner, u[3] = far + near, u[4] = far - near, u[5] = g[2];
  }
};

// For stride 2 the even and the odd pixels are maps of their own: the outer taps meet the even ones, which makes an F(4, 2) at
// the points 0, 1, -1, 2 and infinity, and the middle tap the odd ones, four plain products.
struct EverySecondPixel {
  static constexpr int stride = 2, pixels = 9, filters = 6;
  static constexpr int filter_of(int place) { return place < 5 ? place : 5; }

  // x to B^T of the even pixels, then the odd ones.
  static void transform_input(Vec (&x)[9]) {
    const Vec e0 = x[0], e1 = x[2], e2 = x[4], e3 = x[6], e4 = x[8], odd[4] = {x[1], x[3], x[5], x[7]};
    const Vec a = e3 - e1, b = e3 - e2;
    x[0] = 2.f * (e0 - e2) + a, x[1] = b - 2.f * e1, x[2] = b + 2.f * (e1 - e2), x[3] = a;
    x[4] = 2.f * (e1 - e3) + (e4 - e2);
    x[5] = odd[0], x[6] = odd[1], x[7] = odd[2], x[8] = odd[3];
  }
  static void transform_output(const Vec (&m)[9], Vec (&y)[4]) {
    const Vec a = m[1] + m[2], b = m[1] - m[2];
    y[0] = m[0] + a + m[3] + m[5], y[1] = b + 2.f * m[3] + m[6];
    y[2] = a + 4.f * m[3] + m[7], y[3] = b + 8.f * m[3] + m[4] + m[8];
  }
  // g to G of the outer taps, then the middle one.
  static void transform_filter(const Vec (&g)[3], Vec (&u)[6]) {
    u[0] = g[0] * 0.5f, u[1] = (g[0] + g[2]) * -0.5f, u[2] = (g[2] - g[0]) * float(1. / 6);
    u[3] = g[0] * float(1. / 6) + g[2] * float(1. / 3), u[4] = g[2], u[5] = g[1];
  }
};

}  // namespace relume::cpu::winograd
