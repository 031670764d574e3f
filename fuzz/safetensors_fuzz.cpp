// Bytes as a safetensors file: an InputError that names it, or tensors within it.
#include <cstring>

#include "data/checkpoint/safetensors.h"
#include "fuzz/exact_copy.h"
#include "fuzz/memory.h"
#include "fuzz/tensors.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// The length of the header mostly follows the header, or nothing behind it would be reached.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 == 0) return size;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t end = bytes.find("}}");
  if (end == std::string_view::npos || end < 8) return size;
  const uint64_t header = end + 2 - 8;
  std::memcpy(data, &header, sizeof header);
  return size;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  relume::fuzz::use_plain_memory();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const relume::SafetensorsFile file(relume::fuzz::exact_copy(data, size), "x.safetensors");
    relume::fuzz::read_all(file, "x.safetensors: ");
  } catch (const relume::InputError& error) {
    relume::fuzz::require_message(error, "x.safetensors: ");
  }
  return 0;
}
