// Sums of tensors with f64 factors: the steps of every sampler are such sums.
#pragma once

#include <array>
#include <initializer_list>

#include "tensor/core/tensor.h"

namespace relume {

struct Term {
  double factor = 0;
  Tensor x;  // may be undefined when the factor is 0
};

// The sum of factor * x over the terms, of which the first is defined; all have one shape, float dtype and device. A term with
// factor 0 is left out, whatever it holds. Not differentiable.
Tensor linear_combination(std::initializer_list<Term> terms);

// x + factor * y, the product rounded before it is added, as the reference computes it: where both are large and the sum is
// not, as from sigma 1e4, that shows.
Tensor add_rounded(const Tensor& x, double factor, const Tensor& y);

// Factors of the newest three values m0, m1, m2 of a function in w1 D1 + w2 D2, with the differences of the published multistep
// solvers of three values (DPM-Solver, Lu et al. 2022, and the EDM form):
//   D10 = (m0 - m1) / r0, D11 = (m1 - m2) / r1, D1 = D10 + (D10 - D11) r0 / (r0 + r1), D2 = (D10 - D11) / (r0 + r1)
// D2 is half the second derivative where the expansion asks for the whole, so that these solvers have order 2. 2 D2 gives them
// order 3, and larger errors at the 10 to 20 steps that are usual.
std::array<double, 3> difference_factors(double r0, double r1, double w1, double w2);

}  // namespace relume
