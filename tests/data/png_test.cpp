#include "data/png.h"

#include <sys/resource.h>

#include <utility>

#include "base/files.h"
#include "data/image.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern, test::pixel, test::same_bits;

TEST(Png, RoundTripIsExact) {
  for (const Tensor& image : {pattern(), pattern(1, 1), pattern(1, 300), pattern(97, 2)})
    EXPECT_EQ(difference(decode_image(encode_png(image), "a.png"), image), 0) << image;
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

// Levels of a 16-bit part as the fixtures were made.
std::vector<int> levels(const Tensor& part) {
  std::vector<int> out;
  for (int64_t i = 0; i < part.numel(); ++i) out.push_back(int(part.data<float>()[i] * 65535.0f + 0.5f));
  return out;
}

TEST(Png, SixteenBitsAndAlphaAreKept) {
  const Picture colour = read_picture(fixture("rgba16.png")), grey = read_picture(fixture("grey_alpha16_interlaced.png"));
  EXPECT_FALSE(colour.grey);
  EXPECT_TRUE(grey.grey);
  for (const Picture* picture : {&colour, &grey}) {
    const std::vector<int> pixels = levels(picture->pixels), alpha = levels(picture->alpha);
    ASSERT_EQ(picture->alpha.shape(), (Shape{17, 23, 1}));
    for (int64_t y = 0; y < 17; ++y)
      for (int64_t x = 0; x < 23; ++x) {
        const int64_t at = y * 23 + x;
        EXPECT_EQ(alpha[size_t(at)], x * y % 256 * 257);
        for (int c = 0; c < 3; ++c)
          EXPECT_EQ(pixels[size_t(at * 3 + c)], pixel(pattern(), y, x, picture->grey ? 0 : c) * 256 + 200);
      }
  }
}

TEST(Png, AlphaComesFromChannelsPaletteAndKey) {
  const auto alpha_at = [](const Picture& p, int64_t y, int64_t x) { return pixel(p.alpha, y, x, 0); };
  const Picture rgba = read_picture(fixture("rgba.png")), palette = read_picture(fixture("palette_transparent.png")),
                grey_key = read_picture(fixture("grey_key.png")), rgb_key = read_picture(fixture("rgb_key.png"));
  for (int64_t y = 0; y < 17; ++y)
    for (int64_t x = 0; x < 23; ++x) {
      const int red = pixel(pattern(), y, x, 0);
      EXPECT_EQ(alpha_at(rgba, y, x), x * y % 256);
      EXPECT_EQ(alpha_at(palette, y, x), red % 16 * 10);
      EXPECT_EQ(alpha_at(grey_key, y, x), red == 21 ? 0 : 255);
      const bool key = red == 21 && pixel(pattern(), y, x, 1) == 9 && pixel(pattern(), y, x, 2) == 1;
      EXPECT_EQ(alpha_at(rgb_key, y, x), key ? 0 : 255);
    }
  EXPECT_EQ(alpha_at(rgb_key, 0, 3), 0);
  for (const char* name : {"rgb.png", "grey.png", "rgb16.png"}) EXPECT_FALSE(read_picture(fixture(name)).alpha) << name;
}

TEST(Png, SmallGreysAreSpreadOverTheRange) {
  for (int depth : {2, 4}) {
    const Picture picture = read_picture(fixture("grey" + std::to_string(depth) + ".png"));
    EXPECT_TRUE(picture.grey);
    const int count = 1 << depth;
    for (int64_t x = 0; x < 23; ++x)
      EXPECT_EQ(pixel(picture.pixels, 3, x, 1), pixel(pattern(), 3, x, 0) % count * 255 / (count - 1)) << depth;
  }
}

TEST(Png, CarriesTheProfileThatFits) {
  EXPECT_EQ(read_picture(fixture("rgba16.png")).icc, read_file(fixture("rgb.icc")));
  EXPECT_EQ(read_picture(fixture("grey_icc.png")).icc, read_file(fixture("grey.icc")));
  EXPECT_EQ(read_picture(fixture("grey_foreign_icc.png")).icc, "");  // an RGB profile on a grey picture
}

TEST(Png, WhatWasReadIsWrittenAgain) {
  for (const char* name : {"rgb.png", "rgba.png", "grey.png", "grey_alpha.png", "rgb16.png", "grey16.png", "rgba16.png",
                           "grey_alpha16_interlaced.png", "palette_transparent.png", "grey_icc.png"}) {
    const Picture picture = read_picture(fixture(name)), back = decode_picture(encode_png(picture), "back.png");
    EXPECT_TRUE(same_bits(back.pixels, picture.pixels)) << name;
    EXPECT_EQ(bool(back.alpha), bool(picture.alpha)) << name;
    EXPECT_TRUE(!picture.alpha || same_bits(back.alpha, picture.alpha)) << name;
    EXPECT_EQ(back.grey, picture.grey) << name;
    EXPECT_EQ(back.icc, picture.icc) << name;
  }
}

TEST(Png, SixteenBitValuesAreRoundedAndClamped) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = Tensor::of<float>({1, 2, 3}, {-1, 7, nan, 0.4f / 65535, 0.6f / 65535, 65533.6f / 65535});
  EXPECT_EQ(levels(decode_picture(encode_png(Picture{.pixels = x}), "x.png").pixels),
            (std::vector<int>{0, 65535, 0, 0, 1, 65534}));
}

TEST(Png, AProfileThatLibpngRefusesIsLeftOut) {
  std::string icc = read_file(fixture("rgb.icc"));
  icc[131] = char(200);  // 200 tags
  const Picture back = decode_picture(encode_png(Picture{.pixels = pattern(), .icc = icc}), "x.png");
  EXPECT_EQ(difference(back.pixels, pattern()), 0);
  EXPECT_EQ(back.icc, "");
}

// ---- Bombs ----

std::string big_endian(uint64_t value, int bytes = 4) {
  std::string out;
  while (bytes-- > 0) out += char(value >> (8 * bytes));
  return out;
}

std::string chunk(const std::string& kind, const std::string& data) {
  uint32_t crc = ~0u;
  for (const char c : kind + data) {
    crc ^= uint8_t(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return big_endian(data.size()) + kind + data + big_endian(~crc);
}

// A zlib stream of `zeros` zero bytes (one more than a multiple of 258) in a thousandth of the space: a literal 0, then copies
// of 258 bytes at distance 1, in the fixed code of RFC 1951.
std::string deflated_zeros(uint64_t zeros) {
  std::string out = "\x78\x01";
  unsigned held = 0, count = 0;
  const auto put = [&](const std::string& bits) {
    for (const char bit : bits) {
      held |= unsigned(bit - '0') << count;
      if (++count == 8) out += char(std::exchange(held, 0)), count = 0;
    }
  };
  put("11000110000");  // last block, fixed code, literal 0
  for (uint64_t i = 0; i < (zeros - 1) / 258; ++i) put("1100010100000");
  put("00000000000000");  // end of block, and to the end of the byte
  return out + big_endian((zeros % 65521) << 16 | 1);
}

std::string png_of(int64_t height, int64_t width, const std::string& extra, const std::string& deflated) {
  const std::string header = big_endian(uint64_t(width)) + big_endian(uint64_t(height)) + std::string("\1\0\0\0\0", 5);
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + extra + chunk("IDAT", deflated) + chunk("IEND", "");
}

int64_t peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

TEST(Png, ABombOfZerosIsRefusedByItsSize) {
  const std::string bomb = png_of(60000, 60000, "", deflated_zeros(258 * 1000 + 1));
  const int64_t before = peak_kilobytes();
  EXPECT_HAS(input_error([&] { decode_image(bomb, "bomb.png"); }), "bomb.png: its header asks for 60000x60000 pixels");
  EXPECT_LT(peak_kilobytes() - before, 10000);
}

TEST(Png, AHundredMegapixelsWithinTheLimitsAreAPicture) {
  constexpr int64_t height = 7907,
                    width = 12512;  // rows of 1 + 12512 / 8 bytes: all of them are one more than a multiple of 258
  const Tensor image = decode_image(png_of(height, width, "", deflated_zeros(uint64_t(height * (1 + width / 8)))), "large.png");
  EXPECT_EQ(image.shape(), (Shape{height, width, 3}));
  EXPECT_EQ(pixel(image, height - 1, width - 1, 2), 0);
}

TEST(Png, BombsBesideThePixelsAreNotInflated) {
  const std::string zeros = deflated_zeros(258 * 1000000 + 1), one_pixel = deflated_zeros(2 + 257 + 258);
  std::string profile_start = read_file(fixture("rgb.icc")).substr(0, 132);
  profile_start.replace(0, 4, big_endian(258000000));
  const std::string stored = "\x78\x01" + std::string(1, '\0') + "\x84" + std::string(1, '\0') + "\x7B\xFF" + profile_start;
  const int64_t before = peak_kilobytes();
  for (const std::string& extra :
       {chunk("iCCP", "x" + std::string(2, '\0') + stored + zeros.substr(2)), chunk("zTXt", "x" + std::string(2, '\0') + zeros),
        chunk("iTXt", "x" + std::string("\0\1\0\0\0", 5) + zeros)}) {
    const Picture picture = decode_picture(png_of(1, 1, extra, one_pixel), "bomb.png");
    EXPECT_EQ(picture.pixels.shape(), (Shape{1, 1, 3}));
    EXPECT_EQ(picture.icc, "");
  }
  EXPECT_LT(peak_kilobytes() - before, 50000);
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
    EXPECT_HAS(message, "cut.png: truncated PNG (");
  }
}

TEST(Png, AChunkLongerThanTheFileIsRefusedBeforeLibpngMakesRoomForIt) {
  std::string file = read_file(fixture("exif6.png"));
  const size_t at = file.find("eXIf") - 4;
  file.replace(at, 4, big_endian(0x6B001AB3));
  EXPECT_HAS(input_error([&] { decode_image(file, "long.png"); }), "long.png: truncated PNG (a chunk of 1795168947 bytes");
}

TEST(Png, DamageIsNamed) {
  std::string bytes = encode_png(pattern());
  bytes[60] = char(bytes[60] ^ 0x55);
  EXPECT_HAS(input_error([&] { decode_image(bytes, "a.png"); }), "a.png: damaged PNG (libpng: ");
}

TEST(Png, HugeHeaderIsRefusedBeforeAllocation) {
  std::string bytes = read_file(fixture("rgb.png"));
  // 100000 x 100000 with the checksum a hostile file would carry.
  const unsigned char header[] = {0x00, 0x01, 0x86, 0xA0, 0x00, 0x01, 0x86, 0xA0, 8, 2, 0, 0, 0, 0x27, 0x30, 0x9C, 0x9F};
  bytes.replace(16, sizeof header, reinterpret_cast<const char*>(header), sizeof header);
  const int64_t before = allocator({}).bytes_in_use();
  EXPECT_HAS(input_error([&] { decode_image(bytes, "bomb.png"); }),
             "bomb.png: its header asks for 100000x100000 pixels, more than the 268 million");
  EXPECT_EQ(allocator({}).bytes_in_use(), before);
  EXPECT_HAS(input_error([] { read_image(fixture("rgb.png"), {.max_pixels = 17 * 23 - 1}); }), "header asks for 23x17");
  EXPECT_NO_THROW(read_image(fixture("rgb.png"), {.max_pixels = 17 * 23}));
}

TEST(Png, RefusesWhatIsNoPicture) {
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({4, 4, 1}, DType::u8)); }), "png: expects a picture");
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({4, 4, 3}, DType::i32)); }), "i32 cpu [4, 4, 3]");
  EXPECT_HAS(input_error([] {
               encode_png(Picture{.pixels = pattern(), .alpha = Tensor::zeros({17, 23, 1})});
             }),
             "png: expects alpha [H, W, 1] of the type of the pixels u8 cpu [17, 23, 3], got f32 cpu [17, 23, 1]");
  EXPECT_HAS(input_error([] { encode_png(Tensor::empty({0, 4, 3}, DType::u8)); }), "png: expects a picture");
  EXPECT_HAS(input_error([] { encode_png(Tensor()); }), "undefined");
}

}  // namespace
}  // namespace relume
