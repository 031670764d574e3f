#include "data/png.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

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

  PictureHeader header() {
    run([&] {
      read_header();
      read_exif();
    });
    const int64_t height = png_get_image_height(png_, info_), width = png_get_image_width(png_, info_);
    check_size(height, width, name_, limits_);
    const bool alpha =
        (png_get_color_type(png_, info_) & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
    return turned({height, width, alpha, png_get_bit_depth(png_, info_) == 16, grey_}, orientation_);
  }

  DecodedPicture decode() {
    header();  // throws
    const int64_t height = png_get_image_height(png_, info_), width = png_get_image_width(png_, info_);
    int passes = 1;
    run([&] { passes = expand(); });
    const DType dtype = png_get_bit_depth(png_, info_) == 16 ? DType::f32 : DType::u8;
    DecodedPicture decoded;
    Picture& picture = decoded.picture;
    picture.grey = grey_;
    picture.pixels = Tensor::empty({height, width, 3}, dtype);
    if (png_get_channels(png_, info_) == 4) picture.alpha = Tensor::empty({height, width, 1}, dtype);
    const size_t row_bytes = png_get_rowbytes(png_, info_);
    RELUME_BUG(row_bytes == size_t(width * (picture.alpha ? 4 : 3) * (dtype == DType::u8 ? 1 : 2)), name_, ": rows of ",
               row_bytes, " bytes");
    // Only an interlaced picture comes in several passes, each of which needs the rows of the one before.
    const Tensor rows = Tensor::empty({passes > 1 ? height : 1, int64_t(row_bytes)}, DType::u8);
    run([&] {
      for (int pass = 1; pass <= passes; ++pass)
        for (int64_t y = 0; y < height; ++y) {
          uint8_t* row = rows.data<uint8_t>() + (passes > 1 ? y * int64_t(row_bytes) : 0);
          png_read_row(png_, row, nullptr);
          if (pass == passes) store(row, y, picture);
        }
      png_read_end(png_, info_);
      read_exif();
    });
    if (icc_ != nullptr) picture.icc = usable_icc({icc_, icc_size_}, grey_);
    decoded.orientation = orientation_;
    return decoded;
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
    // Compressed texts have no bearing on the picture: they are not even inflated. A colour profile is, up to the limit.
    static const png_byte skipped[] = "iTXt\0tEXt\0zTXt\0sPLT";
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, skipped, 4);
    png_set_chunk_malloc_max(png_, max_icc_bytes);
    png_read_info(png_, info_);
    grey_ = (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) == 0;
    png_charp label = nullptr;
    png_bytep icc = nullptr;
    int compression = 0;
    if (png_get_iCCP(png_, info_, &label, &compression, &icc, &icc_size_) != 0) icc_ = reinterpret_cast<const char*>(icc);
  }

  // Asks for RGB or RGBA rows of 8 or 16 bit; gives the number of passes over them.
  int expand() {
    png_set_expand(png_);
    png_set_gray_to_rgb(png_);
    if constexpr (std::endian::native == std::endian::little) png_set_swap(png_);
    const int passes = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return passes;
  }

  static void store(const uint8_t* row, int64_t y, const Picture& picture) {
    const int64_t width = picture.pixels.shape(1);
    if (picture.pixels.dtype() == DType::f32) {
      float* to = picture.pixels.data<float>() + y * width * 3;
      float* alpha = picture.alpha ? picture.alpha.data<float>() + y * width : nullptr;
      const auto next = [&] {
        uint16_t level;
        std::memcpy(&level, row, sizeof level);
        row += sizeof level;
        return float(level) / 65535.0f;
      };
      for (int64_t x = 0; x < width; ++x) {
        for (int c = 0; c < 3; ++c) *to++ = next();
        if (alpha != nullptr) *alpha++ = next();
      }
    } else if (picture.alpha) {
      split_alpha(row, width, picture.pixels.data<uint8_t>() + y * width * 3, picture.alpha.data<uint8_t>() + y * width);
    } else {
      std::memcpy(picture.pixels.data<uint8_t>() + y * width * 3, row, size_t(width) * 3);
    }
  }

  void read_exif() {
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
  bool grey_ = false;
  int orientation_ = 1;
  const char* icc_ = nullptr;  // within info_
  png_uint_32 icc_size_ = 0;
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

// libpng makes room for some chunks by the length they claim, up to 2 GiB, before it looks for their bytes. Goes as far as the
// chunk called `last`.
void check_chunk_lengths(std::string_view bytes, const std::string& name, std::string_view last) {
  constexpr size_t signature = 8, around = 12;  // of a chunk: length, name, checksum
  for (size_t at = signature; at + around <= bytes.size() && bytes.substr(at + 4, 4) != last;) {
    const size_t length = png_get_uint_32(reinterpret_cast<png_const_bytep>(bytes.data() + at)),
                 left = bytes.size() - at - around;
    RELUME_CHECK(length <= left, name, ": truncated PNG (a chunk of ", length, " bytes, ", left,
                 " are left); re-export the picture or remove it from the folder");
    at += around + length;
  }
}

DecodedPicture read_png(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  check_chunk_lengths(bytes, name, "IEND");
  return Reader(bytes, name, limits).decode();
}

PictureHeader read_png_header(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  check_chunk_lengths(bytes, name, "IDAT");
  return Reader(bytes, name, limits).header();
}

// One row as the file has it: `channels` samples a pixel, the first ones colour (or grey), big-endian where of 16 bit.
void gather(const Picture& dense, int64_t y, int channels, uint8_t* row) {
  const int64_t width = dense.pixels.shape(1);
  const int colours = dense.alpha ? channels - 1 : channels;
  const auto each_sample = [&](const auto* pixels, const auto* alpha, const auto& put) {
    for (int64_t x = y * width; x < (y + 1) * width; ++x) {
      for (int c = 0; c < colours; ++c) put(pixels[3 * x + c]);
      if (alpha != nullptr) put(alpha[x]);
    }
  };
  if (dense.pixels.dtype() == DType::u8)
    each_sample(dense.pixels.data<uint8_t>(), dense.alpha ? dense.alpha.data<uint8_t>() : nullptr,
                [&](uint8_t value) { *row++ = value; });
  else
    each_sample(dense.pixels.data<float>(), dense.alpha ? dense.alpha.data<float>() : nullptr, [&](float value) {
      const int level = int(std::nearbyint((value > 0 ? std::min(value, 1.0f) : 0.0f) * 65535.0f));
      *row++ = uint8_t(level >> 8);
      *row++ = uint8_t(level);
    });
}

}  // namespace

std::string encode_png(const Picture& picture) {
  check_picture(picture, "png");
  const Picture dense{.pixels = picture.pixels.contiguous(), .alpha = picture.alpha ? picture.alpha.contiguous() : Tensor()};
  const int64_t height = dense.pixels.shape(0), width = dense.pixels.shape(1);
  const int depth = dense.pixels.dtype() == DType::u8 ? 8 : 16, channels = (picture.grey ? 1 : 3) + (picture.alpha ? 1 : 0);
  const int kind = (picture.grey ? 0 : PNG_COLOR_MASK_COLOR) | (picture.alpha ? PNG_COLOR_MASK_ALPHA : 0);
  std::vector<uint8_t> row(size_t(width * channels * depth / 8));
  Writer w;
  const bool done = guarded(w.errors, [&] {
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w.errors, on_error, on_warning);
    w.info = w.png ? png_create_info_struct(w.png) : nullptr;
    if (w.info == nullptr) std::longjmp(w.errors.jump, 1);
    png_set_write_fn(w.png, &w, Writer::on_write, nullptr);
    png_set_IHDR(w.png, w.info, png_uint_32(width), png_uint_32(height), depth, kind, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_benign_errors(w.png, 1);  // a profile that libpng finds broken is left out
    if (!picture.icc.empty())
      png_set_iCCP(w.png, w.info, "icc", PNG_COMPRESSION_TYPE_BASE, reinterpret_cast<png_const_bytep>(picture.icc.data()),
                   png_uint_32(picture.icc.size()));
    png_write_info(w.png, w.info);
    for (int64_t y = 0; y < height; ++y) {
      gather(dense, y, channels, row.data());
      png_write_row(w.png, row.data());
    }
    png_write_end(w.png, w.info);
  });
  if (!done) throw Error(std::string("png: encoding failed (libpng: ") + w.errors.text + ")");
  return std::move(w.out);
}

std::string encode_png(const Tensor& image) { return encode_png(Picture{.pixels = image}); }

const Codec& png_codec() {
  static const Codec codec{.name = "PNG",
                           .extensions = {".png"},
                           .holds_alpha = true,
                           .holds_16_bit = true,
                           .holds_grey = true,
                           .max_side = PNG_USER_WIDTH_MAX,
                           .recognises = [](std::string_view bytes) { return bytes.starts_with("\x89PNG\r\n\x1A\n"); },
                           .decode = read_png,
                           .header = read_png_header,
                           .encode = encode_png};
  return codec;
}

}  // namespace relume
