// How exact products of f32 tensors are.
#pragma once

#include <cstdint>
#include <utility>

namespace relume {

// tf32: a GPU's libraries may round the factors of products and convolutions to TF32, 10 bits behind the point instead of 23;
// sums stay in f32. Other devices compute in full.
enum class FloatProducts : uint8_t { full, tf32 };

namespace detail {
inline thread_local constinit FloatProducts current_products = FloatProducts::full;
}

// What this thread computes with: full, unless a FloatProductsScope lives.
inline FloatProducts float_products() { return detail::current_products; }

class FloatProductsScope {
 public:
  explicit FloatProductsScope(FloatProducts products) : before_(std::exchange(detail::current_products, products)) {}
  ~FloatProductsScope() { detail::current_products = before_; }
  FloatProductsScope(const FloatProductsScope&) = delete;
  FloatProductsScope& operator=(const FloatProductsScope&) = delete;

 private:
  FloatProducts before_;
};

}  // namespace relume
