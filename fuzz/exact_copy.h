// A mapped file of the exact size, so that the address sanitizer sees a read beyond its end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "base/files.h"

namespace relume::fuzz {

inline MappedFile exact_copy(const uint8_t* data, size_t size) {
  const std::shared_ptr<char[]> bytes(new char[size]);
  std::copy(data, data + size, bytes.get());
  return {bytes, {bytes.get(), size}};
}

}  // namespace relume::fuzz
