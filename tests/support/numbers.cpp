#include "tests/support/numbers.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "tensor/core/philox.h"

namespace relume::test {

Tensor uniform(const Shape& shape, uint64_t seed, double low, double high, DType dtype) {
  RandomStream random({.seed = seed, .purpose = "test"});
  std::vector<double> values(size_t(shape.numel()));
  for (double& v : values) v = random.uniform(low, high);
  return Tensor::of(shape, values).to(dtype);
}

double relative_l2(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return std::numeric_limits<double>::infinity();
  const Tensor x = a.to(DType::f64).contiguous(), y = b.to(DType::f64).contiguous();
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double u = x.data<double>()[i], v = y.data<double>()[i];
    difference += (u - v) * (u - v), norm += v * v;
  }
  const double error = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

double largest_difference(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return std::numeric_limits<double>::infinity();
  const Tensor x = a.to(DType::f64).contiguous(), y = b.to(DType::f64).contiguous();
  double largest = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double d = std::abs(x.data<double>()[i] - y.data<double>()[i]);
    if (!(d <= largest)) largest = std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
  }
  return largest;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) return false;
  const Tensor x = a.contiguous(), y = b.contiguous();
  return std::memcmp(x.raw(), y.raw(), size_t(x.numel() * size_of(x.dtype()))) == 0;
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "relume-test-XXXXXX").string();
  RELUME_CHECK(mkdtemp(name.data()), "cannot make a folder ", name);
  path_ = name;
}
TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path source_folder() {
  const char* folder = std::getenv("RELUME_SOURCE_DIR");
  return folder ? folder : ".";
}

}  // namespace relume::test
