#include "data/metrics/symmetric.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace relume {
namespace {

double squares_beside_diagonal(const std::vector<double>& a, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j) sum += a[i * n + j] * a[i * n + j];
  return sum;
}

}  // namespace

SymmetricEigen symmetric_eigen(std::vector<double> a, int size) {
  const auto n = size_t(size);
  RELUME_BUG(a.size() == n * n, "symmetric_eigen: ", a.size(), " numbers for a matrix of ", n, " rows");
  std::vector<double> v(n * n, 0);
  for (size_t i = 0; i < n; ++i) v[i * n + i] = 1;
  double total = 0;
  for (const double x : a) total += x * x;
  constexpr int sweeps = 60;  // it converges quadratically: about ten are needed
  for (int sweep = 0; sweep < sweeps && squares_beside_diagonal(a, n) > 1e-34 * total; ++sweep)
    for (size_t p = 0; p < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        if (a[p * n + q] == 0) continue;
        // The smaller of the two angles that make a[p][q] zero.
        const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        const auto rotate = [c, s](double& x, double& y) {
          const double kept = x;
          x = c * kept - s * y;
          y = s * kept + c * y;
        };
        for (size_t k = 0; k < n; ++k) rotate(a[k * n + p], a[k * n + q]);
        for (size_t k = 0; k < n; ++k) rotate(a[p * n + k], a[q * n + k]);
        for (size_t k = 0; k < n; ++k) rotate(v[k * n + p], v[k * n + q]);
      }
  SymmetricEigen result{.values = std::vector<double>(n), .vectors = std::move(v)};
  for (size_t i = 0; i < n; ++i) result.values[i] = a[i * n + i];
  return result;
}

double inverse_quadratic_form(const std::vector<double>& a, const std::vector<double>& d) {
  const size_t n = d.size();
  const SymmetricEigen eigen = symmetric_eigen(a, int(n));
  double largest = 0, sum = 0;
  for (const double value : eigen.values) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < n; ++i) {
    if (std::abs(eigen.values[i]) <= 1e-15 * largest) continue;
    double along = 0;
    for (size_t k = 0; k < n; ++k) along += eigen.vectors[k * n + i] * d[k];
    sum += along * along / eigen.values[i];
  }
  return sum;
}

}  // namespace relume
