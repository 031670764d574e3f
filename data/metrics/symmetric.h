// Small symmetric matrices in double.
#pragma once

#include <vector>

namespace relume {

// a = sum over i of values[i] * v_i v_i^T, with orthonormal v_i: column i of the row-major n x n `vectors`. Not sorted.
struct SymmetricEigen {
  std::vector<double> values, vectors;
};
// Of the row-major symmetric n x n matrix `a`, by cyclic Jacobi rotations.
SymmetricEigen symmetric_eigen(std::vector<double> a, int n);

// d^T pinv(a) d, eigenvalues below 1e-15 of the largest counted as zero (numpy.linalg.pinv).
double inverse_quadratic_form(const std::vector<double>& a, const std::vector<double>& d);

}  // namespace relume
