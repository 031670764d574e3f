// XXH3-64 with seed 0: the checksum of pictures in packs and of training states.
#pragma once

#include <cstddef>
#include <cstdint>

namespace relume {

uint64_t checksum(const void* data, size_t bytes);

}  // namespace relume
