// Files compressed with gzip.
#pragma once

#include <string>
#include <string_view>

namespace relume {

// What a gzip file of one member holds. InputError, beginning with `where`, for what is damaged, cut off, followed by something
// or holds more than `limit` bytes.
std::string gunzip(std::string_view file, size_t limit, const std::string& where);

}  // namespace relume
