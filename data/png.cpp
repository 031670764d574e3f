#include "data/png.h"

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>

#include <png.h>

#include "data/exif.h"

namespace relume {
namespace {

// libpng reports failure by a call that must not return. It jumps back to guarded(), past C frames and past lambdas that own
// nothing; everything with a destructor lives outside of guarded().
struct PngErrors {
  std::jmp_buf jump;
  char text[256] = "";
  char warning[128] = "";  // the last one: of a bad header libpng tells the reason only as a warning
};

[[noreturn]] void on_error(png_structp png, png_const_charp text) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(errors->text, sizeof errors->text, "%s%s%s", errors->warning, *errors->warning ? "; " : "", text);
  std::longjmp(errors->jump, 1);
}

void on_warning(png_structp png, png_const_charp text) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(errors->warning, sizeof errors->warning, "%s", text);
}

// False when libpng gave up inside `work`.
template <class Work> bool guarded(PngErrors& errors, const Work& work) {
  if (setjmp(errors.jump) != 0) return false;
  work();
  return true;
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& name, const ImageLimits& limits)
      : name_(name), limits_(limits), rest_(bytes) {}
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  DecodedImage decode() {
    run([&] { read_header(); });
    const int64_t height = png_get_image_height(png_, info_), width = png_get_image_width(png_, info_);
    check_size(height, width, name_, limits_);
    DecodedImage image;
    image.pixels = Tensor::empty({height, width, 3}, DType::u8);
    auto* pixels = image.pixels.data<uint8_t>();
    run([&] { read_pixels(pixels, height, width); });
    image.orientation = orientation_;
    return image;
  }

 private:
  static void on_read(png_structp png, png_bytep to, size_t count) {
    auto* self = static_cast<Reader*>(png_get_io_ptr(png));
    if (count > self->rest_.size()) {
      self->truncated_ = true;
      png_error(png, "the file ends inside a chunk");
    }
    std::memcpy(to, self->rest_.data(), count);
    self->rest_.remove_prefix(count);
  }

  void read_header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
    info_ = png_ ? png_create_info_struct(png_) : nullptr;
    if (info_ == nullptr) std::longjmp(errors_.jump, 1);
    png_set_read_fn(png_, this, on_read);
    // Compressed texts and colour profiles have no bearing on the pixels: they are not even inflated.
    static const png_byte skipped[] = "iCCP\0iTXt\0tEXt\0zTXt\0sPLT";
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, skipped, 5);
    png_read_info(png_, info_);
  }

  void read_pixels(uint8_t* pixels, int64_t height, int64_t width) {
    png_set_expand(png_);
    png_set_scale_16(png_);
    png_set_gray_to_rgb(png_);
    png_set_strip_alpha(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != size_t(width) * 3) png_error(png_, "unexpected row size");
    for (int pass = 0; pass < passes; ++pass)
      for (int64_t y = 0; y < height; ++y) png_read_row(png_, pixels + y * width * 3, nullptr);
    png_read_end(png_, info_);
    png_bytep exif = nullptr;
    png_uint_32 exif_size = 0;
    if (png_get_eXIf_1(png_, info_, &exif_size, &exif) != 0)
      orientation_ = exif_orientation({reinterpret_cast<const char*>(exif), exif_size});
  }

  template <class Work> void run(const Work& work) {
    if (guarded(errors_, work)) return;
    throw InputError(name_ + (truncated_ ? ": truncated PNG" : ": damaged PNG") + " (libpng: " + errors_.text +
                     "); re-export the picture or remove it from the folder");
  }

  const std::string& name_;
  const ImageLimits& limits_;
  std::string_view rest_;
  bool truncated_ = false;
  int orientation_ = 1;
  PngErrors errors_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

struct Writer {
  Writer() = default;
  ~Writer() { png_destroy_write_struct(&png, &info); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // C++ exceptions must not pass through libpng's frames.
  static void on_write(png_structp png, png_bytep data, size_t count) {
    bool stored = true;
    try {
      static_cast<Writer*>(png_get_io_ptr(png))->out.append(reinterpret_cast<const char*>(data), count);
    } catch (const std::bad_alloc&) {
      stored = false;
    }
    if (!stored) png_error(png, "out of memory");
  }

  std::string out;
  PngErrors errors{};
  png_structp png = nullptr;
  png_infop info = nullptr;
};

DecodedImage read_png(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  return Reader(bytes, name, limits).decode();
}

}  // namespace

std::string encode_png(const Tensor& image) {
  check_picture(image, "png");
  const Tensor dense = image.contiguous();
  const auto* pixels = dense.data<uint8_t>();
  const int64_t height = dense.shape(0), width = dense.shape(1);
  Writer w;
  const bool done = guarded(w.errors, [&] {
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w.errors, on_error, on_warning);
    w.info = w.png ? png_create_info_struct(w.png) : nullptr;
    if (w.info == nullptr) std::longjmp(w.errors.jump, 1);
    png_set_write_fn(w.png, &w, Writer::on_write, nullptr);
    png_set_IHDR(w.png, w.info, png_uint_32(width), png_uint_32(height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w.png, w.info);
    for (int64_t y = 0; y < height; ++y) png_write_row(w.png, pixels + y * width * 3);
    png_write_end(w.png, w.info);
  });
  if (!done) throw Error(std::string("png: encoding failed (libpng: ") + w.errors.text + ")");
  return std::move(w.out);
}

Tensor decode_png(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  const DecodedImage image = read_png(bytes, name, limits);
  return apply_orientation(image.pixels, image.orientation);
}

const Codec& png_codec() {
  static const Codec codec{.name = "PNG",
                           .extensions = {".png"},
                           .recognises = [](std::string_view bytes) { return bytes.starts_with("\x89PNG\r\n\x1A\n"); },
                           .decode = read_png,
                           .encode = encode_png};
  return codec;
}

}  // namespace relume
