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

const std::array<std::reference_wrapper<const Codec>, 2>& codecs() {
  static const std::array<std::reference_wrapper<const Codec>, 2> table{jpeg_codec(), png_codec()};
  return table;
}

std::string supported_formats() {
  std::vector<std::string> names;
  for (const Codec& codec : codecs()) names.push_back(codec.name + " (" + join(codec.extensions, ", ") + ")");
  return join(names, " and ");
}

// What a file is that we do not read; empty when unknown.
std::string foreign_format(std::string_view bytes) {
  struct Mark {
    size_t at;
    std::string_view magic;
    const char* name;
  };
  static constexpr Mark marks[] = {{8, "WEBP"sv, "WebP"},
                                   {0, "GIF8"sv, "GIF"},
                                   {0, "BM"sv, "BMP"},
                                   {0, "II*\0"sv, "TIFF"},
                                   {0, "MM\0*"sv, "TIFF"},
                                   {4, "ftypavif"sv, "AVIF"},
                                   {4, "ftyphei"sv, "HEIF"},
                                   {4, "ftypmif1"sv, "HEIF"},
                                   {0, "\0\0\0\x0CJXL"sv, "JPEG XL"},
                                   {0, "\xFF\x0A"sv, "JPEG XL"},
                                   {0, "\0\0\0\x0CjP"sv, "JPEG 2000"}};
  for (const Mark& mark : marks)
    if (bytes.size() >= mark.at && bytes.substr(mark.at).starts_with(mark.magic)) return mark.name;
  return {};
}

const Codec* codec_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  for (const Codec& codec : codecs())
    if (std::ranges::count(codec.extensions, extension) > 0) return &codec;
  return nullptr;
}

}  // namespace

void check_size(int64_t height, int64_t width, const std::string& name, const ImageLimits& limits) {
  RELUME_CHECK(height > 0 && width > 0, name, ": a picture of ", width, "x", height, " pixels is empty; remove it");
  RELUME_CHECK(height <= limits.max_pixels / width, name, ": its header asks for ", width, "x", height,
               " pixels, more than the ", limits.max_pixels / 1000000, " million allowed; scale the picture down or remove it");
}

void check_picture(const Tensor& image, const std::string& who) {
  RELUME_CHECK(image && image.dtype() == DType::u8 && image.rank() == 3 && image.shape(2) == 3 && image.numel() > 0 &&
                   image.device() == Device{},
               who, ": expects a picture, u8 cpu [H, W, 3], got ", image);
}

Tensor decode_image(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  RELUME_CHECK(!bytes.empty(), name, ": the file is empty (0 bytes); remove it or copy it again");
  for (const Codec& codec : codecs()) {
    if (!codec.recognises(bytes)) continue;
    const DecodedImage image = codec.decode(bytes, name, limits);
    return apply_orientation(image.pixels, image.orientation);
  }
  const std::string foreign = foreign_format(bytes);
  throw InputError(name + (foreign.empty() ? ": not a picture" : ": " + foreign + " pictures are not read") +
                   "; supported are " + supported_formats());
}

Tensor read_image(const std::filesystem::path& path, const ImageLimits& limits) {
  return decode_image(read_file(path), path.string(), limits);
}

void check_writable_extension(const std::filesystem::path& path) {
  RELUME_CHECK(codec_of(path), path.string(), ": cannot write a picture under this name; supported are ", supported_formats());
}

void write_image(const std::filesystem::path& path, const Tensor& image) {
  check_writable_extension(path);
  write_file_atomically(path, codec_of(path)->encode(image));
}

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
