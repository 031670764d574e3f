#include "data/metrics/symmetric.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/core/philox.h"

namespace relume {
namespace {

TEST(Symmetric, EigenvectorsRebuildTheMatrix) {
  for (const int n : {1, 2, 7, 36}) {
    const auto size = size_t(n);
    RandomStream random({.seed = uint64_t(n), .purpose = "test"});
    std::vector<double> a(size * size);
    for (size_t i = 0; i < size; ++i)
      for (size_t j = 0; j <= i; ++j) a[i * size + j] = a[j * size + i] = random.uniform(-1, 1);
    const SymmetricEigen eigen = symmetric_eigen(a, n);
    for (size_t i = 0; i < size; ++i)
      for (size_t j = 0; j < size; ++j) {
        double rebuilt = 0, dot = 0;
        for (size_t k = 0; k < size; ++k) {
          rebuilt += eigen.values[k] * eigen.vectors[i * size + k] * eigen.vectors[j * size + k];
          dot += eigen.vectors[k * size + i] * eigen.vectors[k * size + j];
        }
        EXPECT_NEAR(rebuilt, a[i * size + j], 1e-13);
        EXPECT_NEAR(dot, i == j, 1e-13);
      }
  }
}

TEST(Symmetric, KnownValues) {
  const SymmetricEigen eigen = symmetric_eigen({2, 1, 1, 2}, 2);
  EXPECT_NEAR(std::min(eigen.values[0], eigen.values[1]), 1, 1e-15);
  EXPECT_NEAR(std::max(eigen.values[0], eigen.values[1]), 3, 1e-15);
  EXPECT_NEAR(inverse_quadratic_form({2, 1, 1, 2}, {1, 0}), 2.0 / 3, 1e-15);
}

TEST(Symmetric, DirectionsWithoutWeightAreLeftOut) {
  EXPECT_NEAR(inverse_quadratic_form({4, 4, 4, 4}, {1, 1}), 0.25, 1e-15);  // eigenvalues 8 and 0
  EXPECT_NEAR(inverse_quadratic_form({4, 4, 4, 4}, {1, -1}), 0, 1e-15);
}

}  // namespace
}  // namespace relume
