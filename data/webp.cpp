#include "data/webp.h"

#include <memory>

#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include "data/exif.h"

namespace relume {
namespace {

struct Delete {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
  void operator()(WebPMux* mux) const { WebPMuxDelete(mux); }
  void operator()(WebPPicture* picture) const { WebPPictureFree(picture); }
};

WebPData view_of(std::string_view bytes) { return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}; }

[[noreturn]] void refuse(const std::string& name, bool truncated, const char* reason) {
  throw InputError(name + (truncated ? ": truncated WebP" : ": damaged WebP") + " (libwebp: " + reason +
                   "); re-export the picture or remove it from the folder");
}

// The first chunk of a kind, within the file's bytes; empty when there is none.
std::string_view chunk_of(const WebPDemuxer* demuxer, const char* kind) {
  WebPChunkIterator chunk{};
  std::string_view found;
  if (WebPDemuxGetChunk(demuxer, kind, 1, &chunk) != 0)
    found = {reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size};
  WebPDemuxReleaseChunkIterator(&chunk);
  return found;
}

const char* reason_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA: return "the data ends early";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "unsupported feature";
    default: return "bitstream error";
  }
}

void decode_pixels(std::string_view bytes, const std::string& name, WebPDecoderConfig& config, const Tensor& to) {
  config.output.colorspace = to.shape(2) == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {to.data<uint8_t>(), int(to.shape(1) * to.shape(2)), size_t(to.numel())};
  const VP8StatusCode status = WebPDecode(view_of(bytes).bytes, bytes.size(), &config);
  if (status == VP8_STATUS_OUT_OF_MEMORY) throw Error(name + ": not enough memory to decode this WebP");
  if (status != VP8_STATUS_OK) refuse(name, status == VP8_STATUS_NOT_ENOUGH_DATA, reason_of(status));
}

// A file whose header is fine, with its container taken apart.
struct OpenedWebp {
  WebPDecoderConfig config;
  std::unique_ptr<WebPDemuxer, Delete> demuxer;
};

OpenedWebp open_webp(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  const WebPData data = view_of(bytes);
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  OpenedWebp opened;
  opened.demuxer.reset(WebPDemuxPartial(&data, &state));
  WebPInitDecoderConfig(&opened.config);
  WebPBitstreamFeatures& features = opened.config.input;
  const VP8StatusCode status = WebPGetFeatures(data.bytes, data.size, &features);
  if (status != VP8_STATUS_OK) refuse(name, status == VP8_STATUS_NOT_ENOUGH_DATA, reason_of(status));
  RELUME_CHECK(features.has_animation == 0, name,
               ": animated WebP is not supported; export one of its pictures, or remove it from the folder");
  check_size(features.height, features.width, name, limits);
  if (state == WEBP_DEMUX_PARSE_ERROR) refuse(name, false, "the container is malformed");
  if (state != WEBP_DEMUX_DONE) refuse(name, true, "the file ends inside a chunk");
  return opened;
}

PictureHeader read_webp_header(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  const OpenedWebp opened = open_webp(bytes, name, limits);
  const WebPBitstreamFeatures& features = opened.config.input;
  return turned({features.height, features.width, features.has_alpha != 0, false, false},
                exif_orientation(chunk_of(opened.demuxer.get(), "EXIF")));
}

DecodedPicture read_webp(std::string_view bytes, const std::string& name, const ImageLimits& limits) {
  auto [config, demuxer] = open_webp(bytes, name, limits);
  DecodedPicture decoded;
  Picture& picture = decoded.picture;
  const int64_t height = config.input.height, width = config.input.width;
  picture.pixels = Tensor::empty({height, width, 3}, DType::u8);
  if (config.input.has_alpha != 0) {
    const Tensor both = Tensor::empty({height, width, 4}, DType::u8);
    decode_pixels(bytes, name, config, both);
    picture.alpha = Tensor::empty({height, width, 1}, DType::u8);
    split_alpha(both.data<uint8_t>(), height * width, picture.pixels.data<uint8_t>(), picture.alpha.data<uint8_t>());
  } else {
    decode_pixels(bytes, name, config, picture.pixels);
  }
  picture.icc = usable_icc(chunk_of(demuxer.get(), "ICCP"), false);
  decoded.orientation = exif_orientation(chunk_of(demuxer.get(), "EXIF"));
  return decoded;
}

[[noreturn]] void fail(const char* what) { throw Error(std::string("webp: encoding failed (libwebp: ") + what + ")"); }

int append(const uint8_t* data, size_t size, const WebPPicture* picture) {
  try {
    static_cast<std::string*>(picture->custom_ptr)->append(reinterpret_cast<const char*>(data), size);
    return 1;
  } catch (const std::bad_alloc&) {  // must not pass through libwebp's frames
    return 0;
  }
}

std::string encode_pixels(const Picture& picture) {
  const Tensor pixels = picture.pixels.contiguous();
  WebPConfig config;
  WebPPicture frame;
  if (WebPConfigInit(&config) == 0 || WebPConfigLosslessPreset(&config, 6) == 0 || WebPPictureInit(&frame) == 0)
    fail("the library is of another version than its headers");
  config.exact = 1;  // keeps the colours below alpha 0
  const std::unique_ptr<WebPPicture, Delete> freed(&frame);
  frame.use_argb = 1;
  frame.width = int(pixels.shape(1));
  frame.height = int(pixels.shape(0));
  if (WebPPictureImportRGB(&frame, pixels.data<uint8_t>(), frame.width * 3) == 0) fail("out of memory");
  if (picture.alpha) {
    const Tensor alpha = picture.alpha.contiguous();
    const uint8_t* a = alpha.data<uint8_t>();
    for (int y = 0; y < frame.height; ++y)
      for (int x = 0; x < frame.width; ++x) {
        uint32_t& argb = frame.argb[int64_t(y) * frame.argb_stride + x];
        argb = (argb & 0xFFFFFFu) | uint32_t(*a++) << 24;
      }
  }
  std::string out;
  frame.writer = append;
  frame.custom_ptr = &out;
  if (WebPEncode(&config, &frame) == 0) fail(frame.error_code == VP8_ENC_ERROR_OUT_OF_MEMORY ? "out of memory" : "no result");
  return out;
}

std::string encode_webp(const Picture& picture) {
  const Tensor& p = picture.pixels;
  RELUME_CHECK(p.shape(0) <= WEBP_MAX_DIMENSION && p.shape(1) <= WEBP_MAX_DIMENSION, "webp: ", p.shape(1), "x", p.shape(0),
               " pixels, but no side of a WebP may exceed ", WEBP_MAX_DIMENSION, "; write a .png");
  std::string frame = encode_pixels(picture);
  if (picture.icc.empty()) return frame;
  const std::unique_ptr<WebPMux, Delete> mux(WebPMuxNew());
  const WebPData frame_data = view_of(frame), icc = view_of(picture.icc);
  WebPData whole{};
  if (mux == nullptr || WebPMuxSetImage(mux.get(), &frame_data, 0) != WEBP_MUX_OK ||
      WebPMuxSetChunk(mux.get(), "ICCP", &icc, 0) != WEBP_MUX_OK || WebPMuxAssemble(mux.get(), &whole) != WEBP_MUX_OK)
    fail("the colour profile could not be added");
  const std::unique_ptr<const uint8_t, void (*)(const void*)> freed(
      whole.bytes, [](const void* bytes) { WebPFree(const_cast<void*>(bytes)); });
  return {reinterpret_cast<const char*>(whole.bytes), whole.size};
}

}  // namespace

const Codec& webp_codec() {
  static const Codec codec{.name = "WebP",
                           .extensions = {".webp"},
                           .holds_alpha = true,
                           .holds_16_bit = false,
                           .holds_grey = false,
                           .max_side = WEBP_MAX_DIMENSION,
                           .recognises =
                               [](std::string_view bytes) {
                                 return bytes.starts_with("RIFF") && bytes.size() > 8 && bytes.substr(8).starts_with("WEBP");
                               },
                           .decode = read_webp,
                           .header = read_webp_header,
                           .encode = encode_webp};
  return codec;
}

}  // namespace relume
