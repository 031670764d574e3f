// Tensors over the bytes of a mapped file.
#pragma once

#include <memory>
#include <string>

#include "tensor/core/source.h"

namespace relume {

// What the tensors of a file of so many bytes may take together: where tensors share their data or repeat it (zero strides), a
// small file could ask for any amount of memory or disk.
constexpr uint64_t unfolding_limit(uint64_t file_bytes) { return 16 * file_bytes + (uint64_t(64) << 20); }

inline int64_t bytes_of(const TensorInfo& info) { return info.shape.numel() * size_of(info.dtype); }

// The tensor whose dense data begins at `address`: a read-only view kept alive by `owner`, a copy where the data is not aligned
// for its type. A boolean that is neither 0 nor 1 is an InputError beginning with `where`.
Tensor mapped_tensor(const TensorInfo& info, const char* address, const std::shared_ptr<void>& owner, const std::string& where);

// The error for a byte of a boolean tensor that is neither 0 nor 1; the same for every layout that holds them.
void check_boolean(const TensorInfo& info, const char* bytes, int64_t count, const std::string& where);

}  // namespace relume
