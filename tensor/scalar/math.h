// Elementary functions for the scalar functors (design D2). For double: the standard library. For float: branch-free
// polynomials that compilers vectorise without -ffast-math, written with explicit fma so that host and device round alike.
// Infinities, NaN and subnormals are handled as by the standard library, signed zeros too. The errors stated are maxima against
// correctly rounded double arithmetic; tests/tensor/math_test.cpp measures them over the whole range. Polynomials: minimax fits
// (Remez).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tensor/scalar/hd.h"

namespace relume::math {

namespace detail {
RELUME_HD inline uint32_t bits_of(float x) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}
RELUME_HD inline float float_of(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

// c0 + c1 x + c2 x^2 + ... by Horner's rule.
RELUME_HD inline float polynomial(float, float c0) { return c0; }
template <class... Rest> RELUME_HD inline float polynomial(float x, float c0, Rest... rest) {
  return ::fmaf(x, polynomial(x, rest...), c0);
}
}  // namespace detail

RELUME_HD inline float fma(float a, float b, float c) { return ::fmaf(a, b, c); }  // a * b + c, rounded once
RELUME_HD inline double fma(double a, double b, double c) { return ::fma(a, b, c); }

RELUME_HD inline float sqrt(float x) { return ::sqrtf(x); }  // correctly rounded
RELUME_HD inline double sqrt(double x) { return ::sqrt(x); }

namespace detail {
// e^x for x in [-174, 89], NaN for NaN.
RELUME_HD inline float exp_within(float x) {
  constexpr float shift = 0x1.8p23f;  // adding it leaves round(x / ln 2) in the low bits
  const float shifted = ::fmaf(x, 1.44269504f, shift), n = shifted - shift;
  const float r = ::fmaf(n, 1.90465421e-9f, ::fmaf(n, -0.693147182f, x));  // x - n ln 2, ln 2 in two parts
  const float q = polynomial(r, 0.49999994f, 0.166665152f, 0.041668456f, 0.00836941879f, 0.00138131448f);
  const float p = ::fmaf(r * r, q, r) + 1.0f;
  // 2^n in two factors, so that subnormal results are rounded once and results up to FLT_MAX do not overflow on the way.
  const int32_t whole = int32_t(bits_of(shifted) - bits_of(shift)), half = whole >> 1;
  return p * float_of(uint32_t(half + 127) << 23) * float_of(uint32_t(whole - half + 127) << 23);
}
}  // namespace detail

// e^x, 1 ulp.
RELUME_HD inline float exp(float x) {
  x = x < -104.0f ? -104.0f : x;  // e^-104 rounds to 0 and e^89 to infinity; a NaN passes both comparisons
  x = x > 89.0f ? 89.0f : x;
  return detail::exp_within(x);
}
RELUME_HD inline double exp(double x) { return ::exp(x); }

// Natural logarithm, 1 ulp.
RELUME_HD inline float log(float x) {
  const bool tiny = x < 0x1p-126f;
  const float scaled = tiny ? x * 0x1p23f : x;
  const uint32_t bits = detail::bits_of(scaled);
  const int32_t exponent = int32_t(bits - 0x3f3504f3u) >> 23;  // x = m 2^exponent with m in [sqrt(1/2), sqrt(2))
  const float f = detail::float_of(bits - (uint32_t(exponent) << 23)) - 1.0f;
  const float e = float(exponent) - (tiny ? 23.0f : 0.0f), square = f * f;
  const float p = detail::polynomial(f, 0.333333135f, -0.250000089f, 0.200021192f, -0.166679963f, 0.142195523f, -0.124055885f,
                                     0.118881606f, -0.116756551f, 0.06746649f);
  float y = ::fmaf(square * f, p, ::fmaf(e, -2.12194440e-4f, -0.5f * square));
  y = ::fmaf(e, 0.693359375f, f + y);
  y = x < INFINITY ? y : x;  // infinity and NaN
  y = x < 0.0f ? NAN : y;
  return x == 0.0f ? -INFINITY : y;
}
RELUME_HD inline double log(double x) { return ::log(x); }

// Hyperbolic tangent, 2 ulp.
RELUME_HD inline float tanh(float x) {
  const float a = ::fabsf(x), square = a * a;
  const float p = detail::polynomial(square, -0.333332807f, 0.133314416f, -0.0537397154f, 0.0206390861f, -0.00570498593f);
  const float small = ::fmaf(a * square, p, a), large = 1.0f - 2.0f / (exp(2.0f * a) + 1.0f);
  return ::copysignf(a < 0.625f ? small : large, x);
}
RELUME_HD inline double tanh(double x) { return ::tanh(x); }

namespace detail {
// |x|, at most 14.5, where the Gaussian is 0 in float. One clamp for all that follows: compilers make a thicket of several.
RELUME_HD inline float gaussian_magnitude(float x) {
  const float a = ::fabsf(x);
  return a > 14.5f ? 14.5f : a;
}
RELUME_HD inline float gaussian_at(float t) {
  const float square = t * t, e = exp_within(-0.5f * square);
  return ::fmaf(e, -0.5f * ::fmaf(t, t, -square), e);
}
}  // namespace detail

// e^(-x^2 / 2), 2 ulp where the result is normal: the rounding error of x^2 is carried along.
RELUME_HD inline float gaussian(float x) { return detail::gaussian_at(detail::gaussian_magnitude(x)); }
RELUME_HD inline double gaussian(double x) { return ::exp(-0.5 * x * x); }

// Upper tail of the normal distribution at |x|: erfc(|x| / sqrt(2)) / 2, 7 ulp where the result is normal. The Gaussian times s
// p(u) with s = 1 / (1 + a |x|), u = 1 - s = a |x| s, a = 19/64: the relative accuracy holds as far out as the result is not 0.
RELUME_HD inline float normal_tail(float x) {
  constexpr float a = 0.296875f;
  const float t = detail::gaussian_magnitude(x);
  const float s = 1.0f / ::fmaf(a, t, 1.0f), u = t * (a * s);
  const float p = detail::polynomial(u, 0.5f, -0.843805373f, 0.648943543f, -0.103922099f, -0.140989795f, 0.0287741479f,
                                     0.0182900783f, 0.0598992929f, -0.0691963956f, 0.0204492733f);
  return detail::gaussian_at(t) * (s * p);
}
RELUME_HD inline double normal_tail(double x) { return 0.5 * ::erfc(::fabs(x) * 0.70710678118654752440); }

// Normal distribution function (1 + erf(x / sqrt(2))) / 2, without the cancellation of that formula for negative x.
template <class T> RELUME_HD inline T normal_cdf(T x) {
  const T tail = normal_tail(x);
  return x > T(0) ? T(1) - tail : tail;
}

// Error function, 2 ulp.
RELUME_HD inline float erf(float x) {
  const float a = ::fabsf(x), square = x * x;
  const float large = ::copysignf(::fmaf(-2.0f, normal_tail(a * 1.41421356f), 1.0f), x);
  const float p = detail::polynomial(square, 0.128379166765f, -0.37612635f, 0.11283715f, -0.0268605085f, 0.00520385918f,
                                     -0.000817563952f, 8.5131051e-05f);
  return a < 0.9f ? ::fmaf(x, p, x) : large;
}
RELUME_HD inline double erf(double x) { return ::erf(x); }

namespace detail {
RELUME_HD inline void sincospi_quarter(float r, float& s, float& c) {  // |r| <= 1/4
  const float z = r * r;
  s = ::fmaf(r, 3.14159274f, r * ::fmaf(z, polynomial(z, -5.16770887f, 2.54980469f, -0.589410901f), -8.74227766e-8f));
  c = ::fmaf(z, polynomial(z, -4.93480206f, 4.05870771f, -1.33505023f, 0.231361032f), 1.0f);
}
RELUME_HD inline void sincospi_quarter(double r, double& s, double& c) {
  s = ::sin(3.14159265358979323846 * r);
  c = ::cos(3.14159265358979323846 * r);
}
}  // namespace detail

// sin(pi x) and cos(pi x) for |x| < 2^29; the reduction is exact. float: 2 ulp.
template <class T> RELUME_HD inline void sincospi(T x, T& sine, T& cosine) {
  const T quarters = std::rint(x + x);
  T s, c;
  detail::sincospi_quarter(fma(quarters, T(-0.5), x), s, c);
  const int32_t q = int32_t(quarters);
  sine = (q & 1) ? c : s;
  cosine = (q & 1) ? s : c;
  sine = (q & 2) ? -sine : sine;
  cosine = ((q + 1) & 2) ? -cosine : cosine;
}

}  // namespace relume::math
