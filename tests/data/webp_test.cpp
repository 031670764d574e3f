#include "data/webp.h"

#include "base/files.h"
#include "data/image.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern;

Picture decode_webp(std::string_view bytes) { return decode_picture(bytes, "a.webp"); }

TEST(WebP, DecodesAsPillowDoes) {
  for (const std::string name : {"photo_alpha", "photo_lossless"}) {
    const Picture ours = read_picture(fixture(name + ".webp")), theirs = read_picture(fixture(name + ".decoded.png"));
    EXPECT_EQ(difference(ours.pixels, theirs.pixels), 0) << name;
    EXPECT_EQ(difference(ours.alpha, theirs.alpha), 0) << name;
  }
  const Picture opaque = read_picture(fixture("photo.webp"));
  EXPECT_EQ(difference(opaque.pixels, read_image(fixture("photo_webp.decoded.png"))), 0);
  EXPECT_FALSE(opaque.alpha || opaque.grey || !opaque.icc.empty());
}

TEST(WebP, CarriesItsProfileAndIsTurned) {
  const Picture picture = read_picture(fixture("photo_alpha.webp"));
  EXPECT_EQ(picture.icc, read_file(fixture("rgb.icc")));
  EXPECT_EQ(picture.pixels.shape(), (Shape{23, 17, 3}));  // stored lying on its side
  EXPECT_EQ(picture.alpha.shape(), (Shape{23, 17, 1}));
}

TEST(WebP, RoundTripIsExact) {
  for (const Tensor& image : {pattern(), pattern(1, 1), pattern(1, 300), pattern(97, 2)})
    for (bool transparent : {false, true})
      for (const std::string& icc : {std::string(), read_file(fixture("rgb.icc"))}) {
        Picture picture{.pixels = image, .icc = icc};
        if (transparent) picture.alpha = Tensor::zeros({image.shape(0), image.shape(1), 1}, DType::u8);  // colours stay
        const Picture back = decode_webp(webp_codec().encode(picture));
        EXPECT_EQ(difference(back.pixels, image), 0) << image;
        EXPECT_EQ(bool(back.alpha), transparent);
        if (transparent) {
          EXPECT_EQ(difference(back.alpha, picture.alpha), 0);
        }
        EXPECT_EQ(back.icc, icc);
      }
}

TEST(WebP, TruncationAnywhereIsNamed) {
  for (const char* name : {"photo.webp", "photo_alpha.webp", "photo_lossless.webp"}) {
    const std::string whole = read_file(fixture(name));
    for (size_t n = 12; n < whole.size(); ++n) {
      const std::string message = input_error([&] { decode_webp(whole.substr(0, n)); });
      EXPECT_HAS(message, "a.webp: truncated WebP (libwebp: ");
    }
  }
}

TEST(WebP, DamageIsNamed) {
  std::string bytes = read_file(fixture("photo_lossless.webp"));
  for (size_t i = 25; i < 60; ++i) bytes[i] = char(0xFF);
  EXPECT_HAS(input_error([&] { decode_webp(bytes); }), "a.webp: damaged WebP (libwebp: ");
}

TEST(WebP, AnimationsAreRefusedByName) {
  EXPECT_HAS(input_error([] { read_picture(fixture("animated.webp")); }), "animated.webp: animated WebP is not supported");
}

TEST(WebP, HeaderLiesAreRefused) {
  std::string bytes = read_file(fixture("photo_lossless.webp"));
  const size_t size = bytes.find("VP8L") + 9;  // width - 1 and height - 1 in 14 bits each
  bytes[size] = bytes[size + 1] = bytes[size + 2] = char(0xFF);
  const int64_t before = allocator({}).bytes_in_use();
  EXPECT_HAS(input_error([&] { decode_picture(bytes, "bomb.webp", {.max_pixels = 1 << 20}); }),
             "bomb.webp: its header asks for");
  EXPECT_EQ(allocator({}).bytes_in_use(), before);
  EXPECT_HAS(input_error([&] { read_image(fixture("photo.webp"), {.max_pixels = 17 * 23 - 1}); }), "header asks for 23x17");
}

TEST(WebP, RefusesLongSides) {
  EXPECT_HAS(input_error([] {
               webp_codec().encode({.pixels = Tensor::empty({1, 16384, 3}, DType::u8)});
             }),
             "no side of a WebP may exceed 16383; write a .png");
}

}  // namespace
}  // namespace relume
