#include "data/jpeg.h"

#include "base/files.h"
#include "data/image.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern, test::pixel;

Tensor smooth(int64_t height, int64_t width) {
  Tensor t = Tensor::empty({height, width, 3}, DType::u8);
  uint8_t* p = t.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) *p++ = uint8_t(40 + (x * (c + 1) + y * (3 - c)) * 180 / (3 * (height + width)));
  return t;
}

// A JPEG whose APP1 segment, right after the start marker, holds `exif`.
std::string with_exif(const std::string& jpeg, const std::string& exif) {
  const size_t size = exif.size() + 2;
  return jpeg.substr(0, 2) + "\xFF\xE1" + char(size >> 8) + char(size & 255) + exif + jpeg.substr(2);
}

std::string exif_block(int orientation, bool little) {
  using namespace std::string_literals;
  const char o = char(orientation);
  std::string exif = little ? "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"s
                            : "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"s;
  exif += o;
  exif.append(little ? 7 : 6, '\0');
  return exif;
}

TEST(Jpeg, RoundTripIsCloseAndDeterministic) {
  for (const auto& [h, w] : {std::pair<int, int>{64, 48}, {1, 1}, {17, 5}, {8, 301}}) {
    const Tensor image = smooth(h, w);
    const std::string bytes = encode_jpeg(image, 95);
    EXPECT_LE(difference(decode_jpeg(bytes), image), 6) << image;
    EXPECT_EQ(bytes, encode_jpeg(image, 95));
  }
  EXPECT_LT(encode_jpeg(pattern(), 10).size(), encode_jpeg(pattern(), 90).size());
}

TEST(Jpeg, DecodesAsPillowDoes) {
  for (const std::string name : {"photo_420", "photo_444", "photo_progressive", "photo_grey", "photo_rgb"})
    EXPECT_EQ(difference(read_image(fixture(name + ".jpg")), read_image(fixture(name + ".decoded.png"))), 0) << name;
}

// out(y, x) for each orientation, written out as EXIF 2.3 words it (row 0 is the visual top, ...), independent of the code.
TEST(Jpeg, AllEightOrientationsInBothByteOrders) {
  const int64_t h = 24, w = 40;
  const Tensor image = smooth(h, w);
  const std::string jpeg = encode_jpeg(image, 100);
  const Tensor plain = decode_jpeg(jpeg);
  for (int o = 1; o <= 8; ++o)
    for (bool little : {true, false}) {
      const Tensor turned = decode_image(with_exif(jpeg, exif_block(o, little)), "turned.jpg");
      const int64_t out_h = o >= 5 ? w : h, out_w = o >= 5 ? h : w;
      ASSERT_EQ(turned.shape(), (Shape{out_h, out_w, 3})) << o;
      for (int64_t y = 0; y < out_h; ++y)
        for (int64_t x = 0; x < out_w; ++x) {
          int64_t sy = y, sx = x;
          switch (o) {
            case 2: sx = w - 1 - x; break;
            case 3: sy = h - 1 - y, sx = w - 1 - x; break;
            case 4: sy = h - 1 - y; break;
            case 5: sy = x, sx = y; break;
            case 6: sy = h - 1 - x, sx = y; break;
            case 7: sy = h - 1 - x, sx = w - 1 - y; break;
            case 8: sy = x, sx = w - 1 - y; break;
          }
          for (int c = 0; c < 3; ++c)
            ASSERT_EQ(pixel(turned, y, x, c), pixel(plain, sy, sx, c)) << o << " at " << y << ", " << x;
        }
    }
}

TEST(Jpeg, BrokenExifIsNoBrokenPicture) {
  const std::string jpeg = encode_jpeg(smooth(8, 16), 90);
  const std::string block = exif_block(6, true);
  for (size_t n = 0; n < block.size() - 6; ++n) {
    const Tensor image = decode_image(with_exif(jpeg, block.substr(0, n)), "x.jpg");
    // With the six last bytes (next directory, padding) missing the value is already there.
    EXPECT_EQ(image.shape(0) == 16, n > 25) << n;
  }
  for (int o : {0, 9, 200}) EXPECT_EQ(decode_image(with_exif(jpeg, exif_block(o, true)), "x.jpg").shape(), (Shape{8, 16, 3}));
  std::string far = block;
  far[10] = far[11] = far[12] = far[13] = char(0xFF);  // the directory lies 4 GB away
  EXPECT_EQ(decode_image(with_exif(jpeg, far), "x.jpg").shape(), (Shape{8, 16, 3}));
}

TEST(Jpeg, TruncationAnywhereIsAnError) {
  for (const std::string& whole : {encode_jpeg(pattern(40, 40), 80), read_file(fixture("photo_progressive.jpg"))})
    for (size_t n = 3; n < whole.size(); ++n) {
      const std::string message = input_error([&] { decode_image(whole.substr(0, n), "photo.jpg"); });
      EXPECT_HAS(message, "photo.jpg: ");
      if (n > whole.size() / 2) {
        EXPECT_HAS(message, "photo.jpg: truncated JPEG (libjpeg: Premature end of JPEG file); re-export");
      }
    }
}

TEST(Jpeg, DamageIsNamed) {
  std::string bytes = encode_jpeg(pattern(64, 64), 90);
  for (size_t i = bytes.size() / 2; i < bytes.size() / 2 + 40; ++i) bytes[i] = char(0xFF);
  EXPECT_HAS(input_error([&] { decode_jpeg(bytes, "a.jpg"); }), "a.jpg: damaged JPEG (libjpeg: ");
}

TEST(Jpeg, TrailingBytesAreAllowed) {  // phones append a video to a photograph
  const std::string bytes = encode_jpeg(pattern(), 90);
  EXPECT_EQ(difference(decode_jpeg(bytes + std::string(1000, 'x')), decode_jpeg(bytes)), 0);
}

TEST(Jpeg, CmykIsRefusedByName) {
  EXPECT_HAS(input_error([] { read_image(fixture("photo_cmyk.jpg")); }),
             "photo_cmyk.jpg: CMYK JPEG is not supported; convert the picture to RGB");
}

TEST(Jpeg, HugeHeaderIsRefusedBeforeAllocation) {
  std::string bytes = encode_jpeg(pattern(), 90);
  const size_t frame = bytes.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  for (size_t i = 5; i < 9; ++i) bytes[frame + i] = char(0xF0);
  const int64_t before = allocator({}).bytes_in_use();
  EXPECT_HAS(input_error([&] { decode_jpeg(bytes, "bomb.jpg"); }), "bomb.jpg: its header asks for 61680x61680 pixels");
  EXPECT_EQ(allocator({}).bytes_in_use(), before);
}

TEST(Jpeg, TooManyScansAreRefused) {
  const std::string bytes = read_file(fixture("photo_progressive.jpg"));
  EXPECT_HAS(input_error([&] { decode_jpeg(bytes, "p.jpg", {.max_scans = 5}); }), "p.jpg: JPEG with more than 5 scans");
  EXPECT_NO_THROW(decode_jpeg(bytes, "p.jpg", {.max_scans = 10}));
}

// A grey progressive JPEG of 8 x 8 pixels that codes every coefficient alone, bit by bit: as many scans as the standard allows.
std::string picture_of_scans() {
  using namespace std::string_literals;
  std::string out = "\xFF\xD8\xFF\xDB\0\x43\0"s + std::string(64, '\1') + "\xFF\xC2\0\x0B\x08\0\x08\0\x08\x01\x01\x11\0"s;
  for (const char table : {'\0', '\x10'})  // one code of one bit: no difference, end of block
    out += "\xFF\xC4\0\x14"s + table + '\1' + std::string(16, '\0');
  const auto scan = [&](int coefficient, int high, int low) {
    out += "\xFF\xDA\0\x08\x01\x01\0"s + char(coefficient) + char(coefficient) + char(high << 4 | low) + '\x7F';
  };
  for (int coefficient = 0; coefficient < 64; ++coefficient)
    for (int low = 13; low >= 0; --low) scan(coefficient, low == 13 ? 0 : low + 1, low);
  return out + "\xFF\xD9";
}

TEST(Jpeg, AThousandScansAreRefused) {
  const std::string bytes = picture_of_scans();
  EXPECT_EQ(test::occurrences(bytes, "\xFF\xDA"), 896);
  EXPECT_HAS(input_error([&] { decode_jpeg(bytes, "p.jpg"); }), "p.jpg: JPEG with more than 500 scans, which no camera");
  EXPECT_EQ(decode_jpeg(bytes, "p.jpg", {.max_scans = 896}).shape(), (Shape{8, 8, 3}));
}

TEST(Jpeg, CarriesItsProfile) {
  const std::string icc = read_file(fixture("rgb.icc"));
  EXPECT_EQ(read_picture(fixture("photo_icc.jpg")).icc, icc);
  EXPECT_EQ(decode_picture(encode_jpeg(Picture{.pixels = pattern(), .icc = icc}, 90), "x.jpg").icc, icc);
}

// A JPEG with `icc` in segments of the given numbers, of a profile split into `count` parts.
std::string with_profile(const std::string& icc, const std::vector<int>& numbers, int count) {
  const std::string jpeg = encode_jpeg(smooth(8, 8), 90);
  std::string segments;
  const size_t part = (icc.size() + size_t(count) - 1) / size_t(count);
  for (const int number : numbers) {
    const std::string data =
        std::string("ICC_PROFILE\0", 12) + char(number) + char(count) + icc.substr(size_t(number - 1) * part, part);
    segments += "\xFF\xE2" + std::string{char((data.size() + 2) >> 8), char(data.size() + 2)} + data;
  }
  return jpeg.substr(0, 2) + segments + jpeg.substr(2);
}

TEST(Jpeg, ProfilesInPartsAreJoinedAndBrokenOnesLeftOut) {
  const std::string icc = read_file(fixture("rgb.icc")), grey = read_file(fixture("grey.icc"));
  const auto profile_of = [](const std::string& jpeg) { return decode_picture(jpeg, "x.jpg").icc; };
  EXPECT_EQ(profile_of(with_profile(icc, {1, 2, 3}, 3)), icc);
  EXPECT_EQ(profile_of(with_profile(icc, {3, 1, 2}, 3)), icc);
  EXPECT_EQ(profile_of(with_profile(icc, {1, 3}, 3)), "");
  EXPECT_EQ(profile_of(with_profile(icc, {1, 2, 2}, 2)), "");
  EXPECT_EQ(profile_of(with_profile(icc.substr(0, 200), {1}, 1)), "");
  EXPECT_EQ(profile_of(with_profile(grey, {1}, 1)), "");  // not for an RGB picture
}

TEST(Jpeg, GreyPicturesStayGrey) {
  Picture picture = read_picture(fixture("photo_grey.jpg"));
  EXPECT_TRUE(picture.grey);
  picture.icc = read_file(fixture("grey.icc"));
  const Picture back = decode_picture(encode_jpeg(picture, 100), "x.jpg");
  EXPECT_TRUE(back.grey);
  EXPECT_EQ(back.icc, picture.icc);
  EXPECT_LE(difference(back.pixels, picture.pixels), 2);
}

TEST(Jpeg, RefusesWhatItCannotHold) {
  EXPECT_HAS(input_error([] {
               encode_jpeg(Picture{.pixels = pattern(), .alpha = Tensor::zeros({17, 23, 1}, DType::u8)}, 90);
             }),
             "jpeg: holds 8 bit without alpha, got pixels u8 cpu [17, 23, 3] with alpha; write a .png");
  EXPECT_HAS(input_error([] { encode_jpeg(Picture{.pixels = Tensor::zeros({2, 2, 3})}, 90); }), "got pixels f32 cpu [2, 2, 3]");
}

TEST(Jpeg, RefusesQualityAndSidesOutOfRange) {
  EXPECT_HAS(input_error([] { encode_jpeg(pattern(), 0); }), "jpeg: quality is 0, expected 1..100");
  EXPECT_HAS(input_error([] { encode_jpeg(pattern(), 101); }), "quality is 101");
  EXPECT_HAS(input_error([] {
               encode_jpeg(Tensor::empty({1, 65501, 3}, DType::u8), 90);
             }),
             "no side of a JPEG may exceed 65500");
}

}  // namespace
}  // namespace relume
