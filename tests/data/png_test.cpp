#include "data/png.h"

#include "base/files.h"
#include "data/image.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern, test::pixel;

TEST(Png, RoundTripIsExact) {
  for (const Tensor& image : {pattern(), pattern(1, 1), pattern(1, 300), pattern(97, 2)})
    EXPECT_EQ(difference(decode_png(encode_png(image)), image), 0) << image;
}

TEST(Png, ReadsEveryFlavourAsRgb) {
  for (const char* name : {"rgb.png", "rgba.png", "interlaced.png"})
    EXPECT_EQ(difference(read_image(fixture(name)), pattern()), 0) << name;
  Tensor grey = pattern();
  uint8_t* p = grey.data<uint8_t>();
  for (int64_t i = 0; i < grey.numel(); i += 3) p[i + 1] = p[i + 2] = p[i];
  for (const char* name : {"grey.png", "grey_alpha.png"}) EXPECT_EQ(difference(read_image(fixture(name)), grey), 0) << name;
  const Tensor bits = read_image(fixture("grey1.png"));
  const Tensor palette = read_image(fixture("palette_transparent.png"));
  for (int64_t y = 0; y < 17; ++y)
    for (int64_t x = 0; x < 23; ++x) {
      const int v = pixel(pattern(), y, x, 0), i = v % 16;
      const int expected[] = {i * 16, 255 - i * 3, i * i};
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(pixel(bits, y, x, c), v > 99 ? 255 : 0);
        EXPECT_EQ(pixel(palette, y, x, c), expected[c]);
      }
    }
}

TEST(Png, SixteenBitsAreScaledAndRounded) {
  const Tensor colour = read_image(fixture("rgb16.png")), grey = read_image(fixture("grey16.png"));
  for (int64_t y = 0; y < 17; ++y)
    for (int64_t x = 0; x < 23; ++x)
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(pixel(colour, y, x, c), ((pixel(pattern(), y, x, c) * 256 + 200) * 255 + 32767) / 65535);
        EXPECT_EQ(pixel(grey, y, x, c), ((pixel(pattern(), y, x, 0) * 256 + 200) * 255 + 32767) / 65535);
      }
}

TEST(Png, ExifChunkTurnsThePicture) {
  const Tensor turned = read_image(fixture("exif6.png"));
  ASSERT_EQ(turned.shape(), (Shape{23, 17, 3}));
  EXPECT_EQ(pixel(turned, 0, 0, 0), pixel(pattern(), 16, 0, 0));
  EXPECT_EQ(pixel(turned, 5, 2, 1), pixel(pattern(), 14, 5, 1));
}

TEST(Png, TruncationAnywhereIsNamed) {
  const std::string whole = encode_png(pattern());
  for (size_t n = 8; n < whole.size(); ++n) {
    const std::string message = input_error([&] { decode_image(whole.substr(0, n), "cut.png"); });
    EXPECT_HAS(message, "cut.png: truncated PNG (libpng: ");
  }
}

TEST(Png, DamageIsNamed) {
  std::string bytes = encode_png(pattern());
  bytes[60] = char(bytes[60] ^ 0x55);
  EXPECT_HAS(input_error([&] { decode_png(bytes, "a.png"); }), "a.png: damaged PNG (libpng: ");
}

TEST(Png, HugeHeaderIsRefusedBeforeAllocation) {
  std::string bytes = read_file(fixture("rgb.png"));
  // 100000 x 100000 with the checksum a hostile file would carry.
  const unsigned char header[] = {0x00, 0x01, 0x86, 0xA0, 0x00, 0x01, 0x86, 0xA0, 8, 2, 0, 0, 0, 0x27, 0x30, 0x9C, 0x9F};
  bytes.replace(16, sizeof header, reinterpret_cast<const char*>(header), sizeof header);
  const int64_t before = allocator({}).bytes_in_use();
  EXPECT_HAS(input_error([&] { decode_png(bytes, "bomb.png"); }),
             "bomb.png: its header asks for 100000x100000 pixels, more than the 268 million");
  EXPECT_EQ(allocator({}).bytes_in_use(), before);
  EXPECT_HAS(input_error([] { read_image(fixture("rgb.png"), {.max_pixels = 17 * 23 - 1}); }), "header asks for 23x17");
  EXPECT_NO_THROW(read_image(fixture("rgb.png"), {.max_pixels = 17 * 23}));
}

TEST(Png, RefusesWhatIsNoPicture) {
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({4, 4, 1}, DType::u8)); }), "png: expects a picture");
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({4, 4, 3})); }), "f32 cpu [4, 4, 3]");
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({0, 4, 3}, DType::u8)); }), "png: expects a picture");
  EXPECT_HAS(input_error([] { encode_png(Tensor()); }), "undefined");
}

}  // namespace
}  // namespace relume
