// Activation: which pointwise function an operation applies, alone or as an epilogue of convolution and matmul.
// To add one: a functor in tensor/scalar/functors.h, a name here, a line in visit_activation().
#pragma once

#include "base/error.h"
#include "tensor/scalar/functors.h"

namespace relume {

enum class ActivationKind { none, gelu, silu, leaky_relu };

struct Activation {
  ActivationKind kind = ActivationKind::none;
  double slope = 0;  // of leaky_relu below zero; 0 gives ReLU
};
inline constexpr Activation gelu_activation{ActivationKind::gelu};
inline constexpr Activation silu_activation{ActivationKind::silu};
constexpr Activation leaky_relu_activation(double slope) { return {ActivationKind::leaky_relu, slope}; }

constexpr const char* name_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::none: return "none";
    case ActivationKind::gelu: return "gelu";
    case ActivationKind::silu: return "silu";
    case ActivationKind::leaky_relu: return "leaky_relu";
  }
  return "?";
}

// Calls f with the functor of `a`; the functor is a compile-time type, so that loops over it are vectorised.
template <class F> void visit_activation(const Activation& a, F&& f) {
  switch (a.kind) {
    case ActivationKind::none: return f(Identity{});
    case ActivationKind::gelu: return f(Gelu{});
    case ActivationKind::silu: return f(Silu{});
    case ActivationKind::leaky_relu: return f(LeakyRelu{a.slope});
  }
  RELUME_BUG(false, "activation kind ", int(a.kind));
}

}  // namespace relume
