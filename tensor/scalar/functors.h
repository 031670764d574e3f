// Pointwise functions and their slopes, written once for every backend (design D2). value(x) is the function, slope(x) its
// derivative; T is float or double (16-bit types are widened by the kernel).
#pragma once

#include "tensor/scalar/hd.h"
#include "tensor/scalar/math.h"

namespace relume {

// y = x
struct Identity {
  template <class T> RELUME_HD T value(T x) const { return x; }
  template <class T> RELUME_HD T slope(T) const { return T(1); }
};

// y = x Phi(x), Phi the normal distribution function: the exact form, (x / 2) (1 + erf(x / sqrt(2))). dy/dx = Phi(x) + x
// phi(x).
struct Gelu {
  template <class T> RELUME_HD T value(T x) const { return x * math::normal_cdf(x); }
  template <class T> RELUME_HD T slope(T x) const {
    return math::fma(x * T(0.39894228040143267794), math::gaussian(x), math::normal_cdf(x));
  }
};

// y = x sigma(x), sigma(x) = 1 / (1 + e^-x). dy/dx = sigma(x) (1 + x sigma(-x)).
struct Silu {
  template <class T> struct Sigmas { T of_x, of_minus_x; };
  template <class T> RELUME_HD static Sigmas<T> sigmas(T x) {  // e^-|x| keeps the relative accuracy of both
    const T e = math::exp(x < T(0) ? x : -x), above = T(1) / (T(1) + e), below = e * above;
    return {x < T(0) ? below : above, x < T(0) ? above : below};
  }
  template <class T> RELUME_HD T value(T x) const { return x * sigmas(x).of_x; }
  template <class T> RELUME_HD T slope(T x) const {
    const Sigmas<T> s = sigmas(x);
    return s.of_x * math::fma(x, s.of_minus_x, T(1));
  }
};

// y = x above zero, negative_slope x elsewhere; 0 gives ReLU. At 0 the slope is negative_slope, as in PyTorch.
struct LeakyRelu {
  double negative_slope = 0;
  template <class T> RELUME_HD T value(T x) const { return x > T(0) ? x : x * T(negative_slope); }
  template <class T> RELUME_HD T slope(T x) const { return x > T(0) ? T(1) : T(negative_slope); }
};

// y = x held within [low, high]; a NaN stays one. The slope is 1 on the bounds, too, as in PyTorch.
struct Clamp {
  double low = 0, high = 0;
  template <class T> RELUME_HD T value(T x) const { return x < T(low) ? T(low) : x > T(high) ? T(high) : x; }
  template <class T> RELUME_HD T slope(T x) const { return x < T(low) || x > T(high) ? T(0) : T(1); }
};

// y = e^x
struct Exp {
  template <class T> RELUME_HD T value(T x) const { return math::exp(x); }
};

}  // namespace relume
