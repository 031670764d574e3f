// Pictures in files. In memory a picture is a u8 tensor [H, W, 3], RGB, turned for viewing (spec diffbir 1.1).
#pragma once

#include <filesystem>

#include "data/codec.h"
#include "data/jpeg.h"
#include "data/png.h"

namespace relume {

// A file's picture, u8 [H, W, 3]: grey replicated, palette expanded, alpha dropped, 16 bit scaled to 8, EXIF orientation
// applied. The format is found by the file's first bytes, never by its name. Whatever is wrong with the file is an InputError
// that begins with its path.
Tensor read_image(const std::filesystem::path& path, const ImageLimits& limits = {});
Tensor decode_image(std::string_view bytes, const std::string& name, const ImageLimits& limits = {});

// Writes u8 [H, W, 3], whole or not at all. write_image chooses the format by the extension (JPEG at quality 95).
void write_image(const std::filesystem::path& path, const Tensor& image);
void write_png(const std::filesystem::path& path, const Tensor& image);
void write_jpeg(const std::filesystem::path& path, const Tensor& image, int quality);

// Lower-case extensions of the formats read and written: ".jpg", ".jpeg", ".png".
const std::vector<std::string>& image_extensions();

// Throws InputError, listing what is supported, unless write_image can write under this name: to be called before hours of
// work.
void check_writable_extension(const std::filesystem::path& path);

}  // namespace relume
