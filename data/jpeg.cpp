#include "data/jpeg.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

// libjpeg's headers need size_t and FILE before them.
#include <jerror.h>
#include <jpeglib.h>

#include "data/exif.h"

namespace relume {
namespace {

// libjpeg reports failure by a call that must not return. It jumps back to guarded(), past C frames and past lambdas that own
// nothing; everything with a destructor lives outside of guarded().
struct JpegErrors : jpeg_error_mgr {
  std::jmp_buf jump;
  int code = 0;
  char text[JMSG_LENGTH_MAX] = "";
  bool ignore_warnings = false;
};

enum OwnError { too_many_scans = 100000, out_of_memory };  // beside libjpeg's message codes, which stay below 1000

[[noreturn]] void leave(j_common_ptr state, int code, const char* text) {
  auto* errors = static_cast<JpegErrors*>(state->err);
  errors->code = code;
  std::snprintf(errors->text, sizeof errors->text, "%s", text);
  std::longjmp(errors->jump, 1);
}

[[noreturn]] void on_error(j_common_ptr state) {
  char text[JMSG_LENGTH_MAX];
  state->err->format_message(state, text);
  leave(state, state->err->msg_code, text);
}

// Warnings mean pixels that libjpeg invents; three of them do not touch the pixels of this picture.
void on_message(j_common_ptr state, int level) {
  const int code = state->err->msg_code;
  const bool harmless = code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM ||
                        static_cast<JpegErrors*>(state->err)->ignore_warnings;
  if (level < 0 && !harmless) on_error(state);
}

void install(jpeg_error_mgr*& slot, JpegErrors& errors) {
  slot = jpeg_std_error(&errors);
  errors.error_exit = on_error;
  errors.emit_message = on_message;
}

// False when libjpeg gave up inside `work`.
template <class Work> bool guarded(JpegErrors& errors, const Work& work) {
  if (setjmp(errors.jump) != 0) return false;
  work();
  return true;
}

class Decompressor {
 public:
  Decompressor(std::string_view bytes, const std::string& name, const ImageLimits& limits) : name_(name), limits_(limits) {
    install(state_.err, errors_);
    run([&] {
      jpeg_create_decompress(&state_);
      jpeg_mem_src(&state_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
      for (int marker : {exif_marker, icc_marker}) jpeg_save_markers(&state_, marker, 0xFFFF);
      jpeg_read_header(&state_, TRUE);
    });
  }
  ~Decompressor() { jpeg_destroy_decompress(&state_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  PictureHeader header() const {
    RELUME_CHECK(state_.jpeg_color_space != JCS_CMYK && state_.jpeg_color_space != JCS_YCCK, name_,
                 ": CMYK JPEG is not supported; convert the picture to RGB");
    check_size(state_.image_height, state_.image_width, name_, limits_);
    const PictureHeader h{state_.image_height, state_.image_width, false, false, state_.jpeg_color_space == JCS_GRAYSCALE};
    return turned(h, orientation());
  }

  DecodedPicture decode() {
    header();  // throws
    DecodedPicture decoded;
    decoded.orientation = orientation();
    decoded.picture.grey = state_.jpeg_color_space == JCS_GRAYSCALE;
    decoded.picture.icc = usable_icc(icc(), decoded.picture.grey);
    decoded.picture.pixels = Tensor::empty({state_.image_height, state_.image_width, 3}, DType::u8);
    auto* pixels = decoded.picture.pixels.data<uint8_t>();
    run([&] {
      state_.out_color_space = JCS_RGB;
      scans_.progress_monitor = on_progress;
      scans_.max_scans = limits_.max_scans;
      state_.progress = &scans_;
      jpeg_start_decompress(&state_);
      while (state_.output_scanline < state_.output_height) {
        JSAMPROW row = pixels + size_t(state_.output_scanline) * state_.output_width * 3;
        jpeg_read_scanlines(&state_, &row, 1);
      }
      jpeg_finish_decompress(&state_);
    });
    return decoded;
  }

 private:
  static constexpr int exif_marker = JPEG_APP0 + 1, icc_marker = JPEG_APP0 + 2;

  struct Scans : jpeg_progress_mgr {
    int max_scans;
  };

  static void on_progress(j_common_ptr state) {
    const auto* decompress = reinterpret_cast<j_decompress_ptr>(state);
    if (decompress->input_scan_number > static_cast<const Scans*>(state->progress)->max_scans) leave(state, too_many_scans, "");
  }

  int orientation() const {
    for (auto* marker = state_.marker_list; marker != nullptr; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (data.starts_with("Exif")) return exif_orientation(data);
    }
    return 1;
  }

  // libjpeg joins the chunks in the order of their numbers, and gives nothing when one is missing.
  std::string icc() {
    JOCTET* bytes = nullptr;
    unsigned size = 0;
    errors_.ignore_warnings = true;
    run([&] {
      if (jpeg_read_icc_profile(&state_, &bytes, &size) == FALSE) size = 0;
    });
    errors_.ignore_warnings = false;
    const std::unique_ptr<JOCTET, void (*)(void*)> freed(bytes, std::free);
    return {reinterpret_cast<const char*>(bytes), size};
  }

  template <class Work> void run(const Work& work) {
    if (!guarded(errors_, work)) fail();
  }

  [[noreturn]] void fail() {
    // A constructor that throws runs no destructor; destroying twice is harmless.
    jpeg_destroy_decompress(&state_);
    const int code = errors_.code;
    RELUME_CHECK(code != too_many_scans, name_, ": JPEG with more than ", limits_.max_scans,
                 " scans, which no camera or program writes; remove the picture or re-export it");
    if (code == JERR_OUT_OF_MEMORY)
      throw Error(name_ + ": not enough memory to decode this JPEG (libjpeg: " + errors_.text + ")");
    const bool unsupported = code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED || code == JERR_ARITH_NOTIMPL ||
                             code == JERR_CONVERSION_NOTIMPL;
    const bool truncated = code == JWRN_JPEG_EOF || code == JERR_INPUT_EOF || code == JERR_INPUT_EMPTY;
    throw InputError(name_ +
                     (unsupported ? ": unsupported kind of JPEG"
                      : truncated ? ": truncated JPEG"
                                  : ": damaged JPEG") +
                     " (libjpeg: " + errors_.text + "); re-export the picture or remove it from the folder");
  }

  const std::string& name_;
  const ImageLimits& limits_;
  JpegErrors errors_{};
  jpeg_decompress_struct state_{};
  Scans scans_{};
};

// Appends to a string. C++ exceptions must not pass through libjpeg's frames.
struct StringDestination : jpeg_destination_mgr {
  std::string* out;
  size_t first_size;

  static StringDestination& of(j_compress_ptr state) { return *static_cast<StringDestination*>(state->dest); }
  static void grow(j_compress_ptr state, size_t used, size_t size) {
    StringDestination& self = of(state);
    bool grown = true;
    try {
      self.out->resize(size);
    } catch (const std::bad_alloc&) {
      grown = false;
    }
    if (!grown) leave(reinterpret_cast<j_common_ptr>(state), out_of_memory, "out of memory");
    self.next_output_byte = reinterpret_cast<JOCTET*>(self.out->data()) + used;
    self.free_in_buffer = size - used;
  }
  static void start(j_compress_ptr state) { grow(state, 0, of(state).first_size); }
  static boolean more(j_compress_ptr state) {
    const size_t used = of(state).out->size();  // libjpeg calls this when the buffer is full, whatever free_in_buffer says
    grow(state, used, used * 2);
    return TRUE;
  }
  static void finish(j_compress_ptr state) { of(state).out->resize(of(state).out->size() - of(state).free_in_buffer); }
};

struct Compressor {
  Compressor() { install(state.err, errors); }
  ~Compressor() { jpeg_destroy_compress(&state); }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  JpegErrors errors{};
  jpeg_compress_struct state{};
  StringDestination destination{};
};

DecodedPicture read_jpeg(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  return Decompressor(bytes, name, limits).decode();
}

}  // namespace

std::string encode_jpeg(const Picture& picture, int quality) {
  check_picture(picture, "jpeg");
  const Tensor& image = picture.pixels;
  RELUME_CHECK(!picture.alpha && image.dtype() == DType::u8, "jpeg: holds 8 bit without alpha, got pixels ", image,
               picture.alpha ? " with alpha" : "", "; write a .png");
  RELUME_CHECK(quality >= 1 && quality <= 100, "jpeg: quality is ", quality, ", expected 1..100");
  RELUME_CHECK(image.shape(0) <= JPEG_MAX_DIMENSION && image.shape(1) <= JPEG_MAX_DIMENSION, "jpeg: ", image.shape(1), "x",
               image.shape(0), " pixels, but no side of a JPEG may exceed ", JPEG_MAX_DIMENSION, "; write a .png");
  const Tensor dense = image.contiguous();
  auto* pixels = dense.data<uint8_t>();
  const size_t width = size_t(dense.shape(1));
  std::vector<uint8_t> greys(picture.grey ? width : 0);
  std::string out;
  Compressor c;
  const bool done = guarded(c.errors, [&] {
    jpeg_create_compress(&c.state);
    c.destination.init_destination = StringDestination::start;
    c.destination.empty_output_buffer = StringDestination::more;
    c.destination.term_destination = StringDestination::finish;
    c.destination.out = &out;
    c.destination.first_size = size_t(dense.numel()) / 8 + 4096;
    c.state.dest = &c.destination;
    c.state.image_height = JDIMENSION(dense.shape(0));
    c.state.image_width = JDIMENSION(width);
    c.state.input_components = picture.grey ? 1 : 3;
    c.state.in_color_space = picture.grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c.state);
    jpeg_set_quality(&c.state, quality, TRUE);
    jpeg_start_compress(&c.state, TRUE);
    if (!picture.icc.empty())
      jpeg_write_icc_profile(&c.state, reinterpret_cast<const JOCTET*>(picture.icc.data()), unsigned(picture.icc.size()));
    while (c.state.next_scanline < c.state.image_height) {
      JSAMPROW row = pixels + c.state.next_scanline * width * 3;
      for (size_t x = 0; x < greys.size(); ++x) greys[x] = row[3 * x];
      if (picture.grey) row = greys.data();
      jpeg_write_scanlines(&c.state, &row, 1);
    }
    jpeg_finish_compress(&c.state);
  });
  if (!done) throw Error(std::string("jpeg: encoding failed (libjpeg: ") + c.errors.text + ")");
  return out;
}

std::string encode_jpeg(const Tensor& image, int quality) { return encode_jpeg(Picture{.pixels = image}, quality); }

Tensor decode_jpeg(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  const DecodedPicture decoded = read_jpeg(bytes, name, limits);
  return apply_orientation(decoded.picture.pixels, decoded.orientation);
}

const Codec& jpeg_codec() {
  static const Codec codec{.name = "JPEG",
                           .extensions = {".jpg", ".jpeg"},
                           .holds_alpha = false,
                           .holds_16_bit = false,
                           .holds_grey = true,
                           .max_side = JPEG_MAX_DIMENSION,
                           .recognises = [](std::string_view bytes) { return bytes.starts_with("\xFF\xD8\xFF"); },
                           .decode = read_jpeg,
                           .header = [](std::string_view bytes, const std::string& name,
                                        const ImageLimits& limits) { return Decompressor(bytes, name, limits).header(); },
                           .encode = [](const Picture& picture) { return encode_jpeg(picture, 95); }};
  return codec;
}

}  // namespace relume
