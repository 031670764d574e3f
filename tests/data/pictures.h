// What the tests of data/ share: the pattern of tests/fixtures/make_pictures.py, fixture paths.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "tensor/core/tensor.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {

inline std::filesystem::path fixture(const std::string& name) {
  return source_folder() / "tests/fixtures/pictures" / name;
}

inline Tensor pattern(int64_t height = 17, int64_t width = 23) {
  Tensor t = Tensor::empty({height, width, 3}, DType::u8);
  uint8_t* p = t.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      *p++ = uint8_t(7 * x + 3 * y);
      *p++ = uint8_t(x * x + y);
      *p++ = uint8_t(11 * y + x / 3);
    }
  return t;
}

inline int pixel(const Tensor& t, int64_t y, int64_t x, int64_t c) {
  return t.data<uint8_t>()[(y * t.shape(1) + x) * t.shape(2) + c];
}

// Largest difference in grey levels; 1000 when the shapes differ.
inline int difference(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return 1000;
  int largest = 0;
  for (int64_t i = 0; i < a.numel(); ++i) largest = std::max(largest, std::abs(a.data<uint8_t>()[i] - b.data<uint8_t>()[i]));
  return largest;
}

}  // namespace relume::test
