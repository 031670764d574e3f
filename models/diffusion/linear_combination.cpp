#include "models/diffusion/linear_combination.h"

#include "tensor/kernels/elementwise.h"

namespace relume {

Tensor linear_combination(std::initializer_list<Term> terms) {
  const Tensor& like = terms.begin()->x;
  const Tensor sum = empty_like(like);
  const auto& axpby = kernels::axpby.on(like.device());
  const Term* first = nullptr;  // the term that waits for a second one
  bool begun = false;
  for (const Term& term : terms) {
    if (term.factor == 0) continue;
    RELUME_CHECK(term.x.shape() == like.shape() && term.x.dtype() == like.dtype() && term.x.device() == like.device(),
                 "linear combination: ", like, " and ", term.x, " differ in shape, dtype or device");
    if (begun) {
      axpby(sum, 1, sum, term.factor, term.x);
    } else if (first) {
      axpby(sum, first->factor, first->x, term.factor, term.x);
      begun = true;
    } else {
      first = &term;
    }
  }
  if (!first) return zeros_like(like);
  if (!begun) axpby(sum, first->factor, first->x, 0, {});
  return sum;
}

Tensor add_rounded(const Tensor& x, double factor, const Tensor& y) {
  return linear_combination({{1, x}, {1, linear_combination({{factor, y}})}});
}

std::array<double, 3> difference_factors(double r0, double r1, double w1, double w2) {
  const double share = r0 / (r0 + r1);
  const double d10 = w1 * (1 + share) + w2 / (r0 + r1), d11 = -w1 * share - w2 / (r0 + r1);
  return {d10 / r0, d11 / r1 - d10 / r0, -d11 / r1};
}

}  // namespace relume
