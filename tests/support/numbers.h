// Numbers for tests: seeded tensors and the measure of closeness.
#pragma once

#include <filesystem>
#include <string>

#include "tensor/core/tensor.h"

namespace relume::test {

// f64 or f32 tensor with values U[low, high), the same for every dtype up to rounding.
Tensor uniform(const Shape& shape, uint64_t seed, double low = -1, double high = 1, DType dtype = DType::f32);

// ||a - b|| / ||b|| in double; infinite when a shape differs or a value is not finite.
double relative_l2(const Tensor& a, const Tensor& b);
double largest_difference(const Tensor& a, const Tensor& b);
bool same_bits(const Tensor& a, const Tensor& b);

// A fresh folder below the system's temporary folder, removed with its contents at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

std::filesystem::path source_folder();  // of the project: RELUME_SOURCE_DIR, which ctest sets, or the current folder

}  // namespace relume::test
