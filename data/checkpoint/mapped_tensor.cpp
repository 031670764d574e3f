#include "data/checkpoint/mapped_tensor.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace relume {

Tensor mapped_tensor(const TensorInfo& info, const char* address, const std::shared_ptr<void>& owner,
                     const std::string& where) {
  const int64_t bytes = bytes_of(info);
  check_boolean(info, address, bytes, where);
  if (bytes > 0 && reinterpret_cast<uintptr_t>(address) % uintptr_t(size_of(info.dtype)) == 0)
    return Tensor::wrap(info.shape, info.dtype, const_cast<char*>(address), owner);
  Tensor copy = Tensor::empty(info.shape, info.dtype);
  if (bytes > 0) std::memcpy(copy.raw(), address, size_t(bytes));
  return copy;
}

void check_boolean(const TensorInfo& info, const char* bytes, int64_t count, const std::string& where) {
  if (info.dtype != DType::boolean) return;
  const char* bad = std::find_if(bytes, bytes + count, [](char c) { return c != 0 && c != 1; });
  RELUME_CHECK(bad == bytes + count, where, ": tensor '", printable(info.name), "' holds the value ",
               int(static_cast<unsigned char>(*bad)), " where a boolean is 0 or 1");
}

}  // namespace relume
