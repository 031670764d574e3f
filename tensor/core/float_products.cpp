#include "tensor/core/float_products.h"

#include <utility>

namespace relume {
namespace {
thread_local FloatProducts current = FloatProducts::full;
}  // namespace

FloatProducts float_products() { return current; }

FloatProductsScope::FloatProductsScope(FloatProducts products) : before_(std::exchange(current, products)) {}
FloatProductsScope::~FloatProductsScope() { current = before_; }

}  // namespace relume
