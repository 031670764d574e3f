// Pictures in files. The format of a file is found by its first bytes, never by its name; whatever is wrong with a file is an
// InputError that begins with its path.
#pragma once

#include <filesystem>

#include "data/codec.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/webp.h"

namespace relume {

// A file's picture with all it carries: grey replicated, palette expanded, turned by its EXIF orientation.
Picture read_picture(const std::filesystem::path& path, const ImageLimits& limits = {});
Picture decode_picture(std::string_view bytes, const std::string& name, const ImageLimits& limits = {});

// What its header tells: cheap, whatever the size of the picture. What reads it may still find the picture damaged.
PictureHeader read_picture_header(const std::filesystem::path& path, const ImageLimits& limits = {});
PictureHeader decode_picture_header(std::string_view bytes, const std::string& name, const ImageLimits& limits = {});

// Its pixels alone, as the pipelines want them (spec diffbir 1.1): u8 [H, W, 3], alpha dropped, 16 bit rounded to 8.
Tensor read_image(const std::filesystem::path& path, const ImageLimits& limits = {});
Tensor decode_image(std::string_view bytes, const std::string& name, const ImageLimits& limits = {});

// Writes a picture, whole or not at all. write_picture and write_image choose the format by the extension (JPEG at quality 95,
// WebP lossless); write_picture throws what check_writable throws, the others take u8 or f32 [H, W, 3].
void write_picture(const std::filesystem::path& path, const Picture& picture);
void write_image(const std::filesystem::path& path, const Tensor& image);
void write_png(const std::filesystem::path& path, const Tensor& image);
void write_jpeg(const std::filesystem::path& path, const Tensor& image, int quality);

// Lower-case extensions of the formats read and written: ".jpg", ".jpeg", ".png", ".webp".
const std::vector<std::string>& image_extensions();

// The format that write_picture writes under this name; InputError, listing what is supported, when there is none. To be called
// before hours of work.
const Codec& codec_for(const std::filesystem::path& path);

// Throws InputError, telling which name to give instead, when the format of this name cannot hold the picture's alpha, 16 bit
// or grey profile, or a side of this many pixels.
void check_writable(const std::filesystem::path& path, const Picture& picture);
void check_writable(const std::filesystem::path& path, int64_t height, int64_t width);

}  // namespace relume
