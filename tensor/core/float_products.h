// How exact products of f32 tensors are.
#pragma once

#include <cstdint>

namespace relume {

// tf32: a GPU's libraries may round the factors of products and convolutions to TF32, 10 bits behind the point instead of 23;
// sums stay in f32. That is several times as fast, and loses a tenth of a percent. Other devices compute in full.
enum class FloatProducts : uint8_t { full, tf32 };

// What this thread computes with: full, unless a FloatProductsScope lives.
FloatProducts float_products();

class FloatProductsScope {
 public:
  explicit FloatProductsScope(FloatProducts products);
  ~FloatProductsScope();
  FloatProductsScope(const FloatProductsScope&) = delete;
  FloatProductsScope& operator=(const FloatProductsScope&) = delete;

 private:
  FloatProducts before_;
};

}  // namespace relume
