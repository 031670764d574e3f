// What must hold for every checkpoint that was opened.
#pragma once

#include <string_view>

#include "base/error.h"
#include "data/checkpoint/mapped_tensor.h"

namespace relume::fuzz {

inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

// Messages begin with the file's name and are one line, whatever the file holds.
inline void require_message(const InputError& error, std::string_view file) {
  const std::string_view message = error.what();
  require(message.starts_with(file) && message.find('\n') == std::string_view::npos);
}

// Reads every tensor of up to a megabyte, to its last byte: what it is listed as it is, or an InputError that names the file.
inline void read_all(const TensorSource& source, std::string_view file) {
  for (const TensorInfo& info : source.tensors()) {
    require(source.find(info.name) != nullptr);
    if (bytes_of(info) > 1 << 20) continue;
    try {
      const Tensor t = source.read(info.name);
      require(t.shape() == info.shape && t.dtype() == info.dtype && t.is_dense());
      unsigned sum = 0;
      for (int64_t i = 0; i < bytes_of(info); ++i) sum += static_cast<const unsigned char*>(t.raw())[i];
      require(sum < ~0u);
    } catch (const InputError& error) {
      require_message(error, file);
    }
  }
}

}  // namespace relume::fuzz
