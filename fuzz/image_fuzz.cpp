// Bytes as a picture file: an InputError, or a picture that survives being written and read again.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "data/image.h"
#include "fuzz/memory.h"

namespace {

using relume::Picture, relume::Tensor;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

bool same(const Tensor& a, const Tensor& b) {
  if (!a || !b) return !a && !b;
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.raw(), b.raw(), size_t(a.numel() * relume::size_of(a.dtype()))) == 0;
}

// Gives every chunk of a PNG the checksum of what it holds: libpng looks no further into a chunk whose checksum is wrong.
void repair_checksums(uint8_t* data, size_t size) {
  if (!relume::png_codec().recognises({reinterpret_cast<const char*>(data), size})) return;
  const auto number_at = [&](size_t at) {
    return size_t(data[at]) << 24 | size_t(data[at + 1]) << 16 | size_t(data[at + 2]) << 8 | data[at + 3];
  };
  for (size_t at = 8; at + 12 <= size;) {
    const size_t end = at + 8 + number_at(at);
    if (end + 4 > size) return;
    uint32_t crc = ~0u;
    for (size_t i = at + 4; i < end; ++i) {
      crc ^= data[i];
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    for (size_t i = 0; i < 4; ++i) data[end + i] = uint8_t(~crc >> (24 - 8 * i));
    at = end + 4;
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 != 0) repair_checksums(data, size);
  return size;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  relume::fuzz::use_plain_memory();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Picture picture;
  try {
    picture = relume::decode_picture(bytes, "input", {.max_pixels = 1 << 20, .max_scans = 50});
  } catch (const relume::InputError& error) {
    require(std::string_view(error.what()).starts_with("input: "));
    return 0;
  }
  const relume::PictureHeader header = relume::decode_picture_header(bytes, "input", {.max_pixels = 1 << 20, .max_scans = 50});
  const int64_t height = picture.pixels.shape(0), width = picture.pixels.shape(1);
  require((header.height == height && header.width == width) || (header.height == width && header.width == height));
  require(header.alpha == bool(picture.alpha) && header.grey == picture.grey &&
          header.sixteen_bit == (picture.pixels.dtype() == relume::DType::f32));
  const Picture back = relume::decode_picture(relume::encode_png(picture), "written");
  require(same(back.pixels, picture.pixels) && same(back.alpha, picture.alpha) && back.grey == picture.grey);
  require(back.icc.empty() || back.icc == picture.icc);
  return 0;
}
