#include "data/checksum.h"

#include <xxhash.h>

namespace relume {

uint64_t checksum(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

}  // namespace relume
