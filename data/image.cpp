#include "data/image.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>

#include "base/files.h"
#include "base/text.h"
#include "data/exif.h"

namespace relume {
namespace {

using namespace std::string_view_literals;

const std::array<std::reference_wrapper<const Codec>, 3>& codecs() {
  static const std::array<std::reference_wrapper<const Codec>, 3> table{jpeg_codec(), png_codec(), webp_codec()};
  return table;
}

std::string supported_formats() {
  std::vector<std::string> names;
  for (const Codec& codec : codecs()) names.push_back(codec.name + " (" + join(codec.extensions, ", ") + ")");
  return join(names, ", ");
}

// What a file is that we do not read; empty when unknown.
std::string foreign_format(std::string_view bytes) {
  struct Mark {
    size_t at;
    std::string_view magic;
    const char* name;
  };
  static constexpr Mark marks[] = {{0, "GIF8"sv, "GIF"},         {0, "BM"sv, "BMP"},
                                   {0, "II*\0"sv, "TIFF"},       {0, "MM\0*"sv, "TIFF"},
                                   {4, "ftypavif"sv, "AVIF"},    {4, "ftyphei"sv, "HEIF"},
                                   {4, "ftypmif1"sv, "HEIF"},    {0, "\0\0\0\x0CJXL"sv, "JPEG XL"},
                                   {0, "\xFF\x0A"sv, "JPEG XL"}, {0, "\0\0\0\x0CjP"sv, "JPEG 2000"}};
  for (const Mark& mark : marks)
    if (bytes.size() >= mark.at && bytes.substr(mark.at).starts_with(mark.magic)) return mark.name;
  return {};
}

const Codec& codec_of(std::string_view bytes, const std::string& name) {
  RELUME_CHECK(!bytes.empty(), name, ": the file is empty (0 bytes); remove it or copy it again");
  for (const Codec& codec : codecs())
    if (codec.recognises(bytes)) return codec;
  const std::string foreign = foreign_format(bytes);
  throw InputError(name + (foreign.empty() ? ": not a picture" : ": " + foreign + " pictures are not read") +
                   "; supported are " + supported_formats());
}

}  // namespace

void check_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits) {
  RELUME_CHECK(height > 0 && width > 0, name, ": a picture of ", width, "x", height, " pixels is empty; remove it");
  RELUME_CHECK(height <= limits.max_pixels / width, name, ": its header asks for ", width, "x", height,
               " pixels, more than the ", limits.max_pixels / 1000000, " million allowed; scale the picture down or remove it");
}

std::string usable_icc(std::string_view icc, bool grey) {
  constexpr size_t header_and_count = 132;
  if (icc.size() < header_and_count || int64_t(icc.size()) > max_icc_bytes) return {};
  uint32_t size = 0;
  for (size_t i = 0; i < 4; ++i) size = size << 8 | uint8_t(icc[i]);
  const bool fits = size == icc.size() && icc.substr(36, 4) == "acsp" && icc.substr(16, 4) == (grey ? "GRAY" : "RGB ");
  return std::string(fits ? icc : std::string_view());
}

Picture decode_picture(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  auto [picture, orientation] = codec_of(bytes, name).decode(bytes, name, limits);
  for (Tensor* part : {&picture.pixels, &picture.alpha})
    if (*part) *part = apply_orientation(*part, orientation);
  return picture;
}

PictureHeader decode_picture_header(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  return codec_of(bytes, name).header(bytes, name, limits);
}

PictureHeader read_picture_header(const std::filesystem::path& path, const ImageLimits& limits) {
  const MappedFile file = map_file(path);  // only the pages that hold the header are read
  return decode_picture_header(file.bytes, path.string(), limits);
}

Tensor decode_image(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  return to_8_bit({.pixels = decode_picture(bytes, name, limits).pixels}).pixels;
}

Picture read_picture(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_picture(read_file(path), path.string(), limits);
}

Tensor read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_image(read_file(path), path.string(), limits);
}

const Codec& codec_for(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  for (const Codec& codec : codecs())
    if (std::ranges::count(codec.extensions, extension) > 0) return codec;
  throw InputError(path.string() + ": cannot write a picture under this name; supported are " + supported_formats());
}

void check_writable(const std::filesystem::path& path, const Picture& picture) {
  const Codec& codec = codec_for(path);
  RELUME_CHECK(!picture.alpha || codec.holds_alpha, path.string(), ": ", codec.name,
               " cannot hold the picture's alpha; give a name that ends in .png or .webp");
  RELUME_CHECK(picture.pixels.dtype() == DType::u8 || codec.holds_16_bit, path.string(), ": ", codec.name,
               " cannot hold 16 bit; give a name that ends in .png");
  RELUME_CHECK(!picture.grey || picture.icc.empty() || codec.holds_grey, path.string(), ": ", codec.name,
               " cannot hold the colour profile of a grey picture; give a name that ends in .png");
}

void check_writable(const std::filesystem::path& path, int64_t height, int64_t width) {
  const Codec& codec = codec_for(path);
  RELUME_CHECK(std::max(height, width) <= codec.max_side, path.string(), ": ", width, "x", height, " pixels, but no side of a ",
               codec.name, " may exceed ", codec.max_side,
               codec.name == png_codec().name ? "" : "; give a name that ends in .png");
}

void write_picture(const std::filesystem::path& path, const Picture& picture) {
  check_picture(picture, path.string());
  check_writable(path, picture);
  check_writable(path, picture.pixels.shape(0), picture.pixels.shape(1));
  write_file_atomically(path, codec_for(path).encode(picture));
}

void write_image(const std::filesystem::path& path, const Tensor& image) { write_picture(path, {.pixels = image}); }

void write_png(const std::filesystem::path& path, const Tensor& image) { write_file_atomically(path, encode_png(image)); }

void write_jpeg(const std::filesystem::path& path, const Tensor& image, int quality) {
  write_file_atomically(path, encode_jpeg(image, quality));
}

const std::vector<std::string>& image_extensions() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> list;
    for (const Codec& codec : codecs()) list.insert(list.end(), codec.extensions.begin(), codec.extensions.end());
    return list;
  }();
  return all;
}

}  // namespace relume
