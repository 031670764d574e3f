#include "data/image.h"

#include <fstream>

#include "base/files.h"
#include "data/convert.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern, test::TemporaryFolder;

TEST(Image, FilesRoundTrip) {
  const TemporaryFolder folder;
  write_image(folder / "a.png", pattern());
  write_image(folder / "b.JPG", pattern());
  write_jpeg(folder / "c.jpeg", pattern(), 95);
  EXPECT_EQ(difference(read_image(folder / "a.png"), pattern()), 0);
  EXPECT_EQ(difference(read_image(folder / "b.JPG"), read_image(folder / "c.jpeg")), 0);
}

TEST(Image, FormatIsFoundByContent) {
  const TemporaryFolder folder;
  write_png(folder / "mislabelled.jpg", pattern());
  EXPECT_EQ(difference(read_image(folder / "mislabelled.jpg"), pattern()), 0);
}

TEST(Image, WhatIsNoPictureIsNamed) {
  const TemporaryFolder folder;
  std::ofstream(folder / "empty.png").close();
  EXPECT_HAS(input_error([&] { read_image(folder / "empty.png"); }), "empty.png: the file is empty (0 bytes)");
  std::ofstream(folder / "text.jpg") << "not a picture at all";
  EXPECT_HAS(input_error([&] { read_image(folder / "text.jpg"); }),
             "text.jpg: not a picture; supported are JPEG (.jpg, .jpeg), PNG (.png), WebP (.webp)");
  EXPECT_HAS(input_error([] { decode_image("GIF89a...", "photo.gif"); }),
             "photo.gif: GIF pictures are not read; supported are JPEG");
  EXPECT_HAS(input_error([&] { read_image(folder / "missing.png"); }), "missing.png");
  EXPECT_HAS(input_error([&] { read_image(folder.path()); }), "is a folder");
}

TEST(Image, HeadersTellWhatDecodingGives) {
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixture("rgb.png").parent_path())) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() == ".icc" || path.stem() == "animated" || path.stem() == "photo_cmyk") continue;
    const Picture picture = read_picture(path);
    const PictureHeader header = read_picture_header(path);
    EXPECT_EQ(header.height, picture.pixels.shape(0)) << path;
    EXPECT_EQ(header.width, picture.pixels.shape(1)) << path;
    EXPECT_EQ(header.alpha, bool(picture.alpha)) << path;
    EXPECT_EQ(header.sixteen_bit, picture.pixels.dtype() == DType::f32) << path;
    EXPECT_EQ(header.grey, picture.grey) << path;
    ++seen;
  }
  EXPECT_GT(seen, 30);
  EXPECT_EQ((PictureHeader{2, 3}.bytes()), 18);
  EXPECT_EQ((PictureHeader{2, 3, true, true}.bytes()), 96);
}

TEST(Image, HeadersAreReadOfPicturesCutBehindThem) {
  for (const auto& [name, whole] :
       {std::pair{"rgb16.png", size_t(60)}, {"photo_420.jpg", size_t(700)}, {"grey_alpha16_interlaced.png", size_t(60)}}) {
    const std::string bytes = read_file(fixture(name));
    EXPECT_EQ(decode_picture_header(bytes.substr(0, whole), name).height, read_picture(fixture(name)).pixels.shape(0)) << name;
    EXPECT_THROW(decode_picture(bytes.substr(0, whole), name), InputError) << name;
  }
  EXPECT_HAS(input_error([] { read_picture_header(fixture("photo_cmyk.jpg")); }), "CMYK JPEG is not supported");
  EXPECT_HAS(input_error([] { read_picture_header(fixture("animated.webp")); }), "animated WebP is not supported");
  EXPECT_HAS(input_error([] { read_picture_header(fixture("rgb.icc")); }), "not a picture");
  EXPECT_HAS(input_error([] { read_picture_header(fixture("rgb.png"), {.max_pixels = 10}); }), "its header asks for");
}

TEST(Image, RandomBytesBehindAMagicNeverCrash) {
  uint32_t state = 1;
  for (const std::string& head :
       {encode_png(pattern()), encode_jpeg(pattern(), 75), read_file(fixture("photo_progressive.jpg")),
        read_file(fixture("rgba16.png")), read_file(fixture("photo_alpha.webp")), read_file(fixture("photo_lossless.webp"))})
    for (int round = 0; round < 2000; ++round) {
      std::string bytes = head;
      for (int change = 0; change < 1 + round % 5; ++change) {
        state = state * 1664525u + 1013904223u;
        bytes[3 + (state >> 8) % (bytes.size() - 3)] = char(state >> 3);
      }
      try {
        EXPECT_GT(decode_picture_header(bytes, "noise", {.max_pixels = 1 << 20}).bytes(), 0);
        EXPECT_EQ(decode_image(bytes, "noise", {.max_pixels = 1 << 20}).shape(2), 3);
      } catch (const InputError& e) {
        EXPECT_HAS(e.what(), "noise: ");
      }
    }
}

TEST(Image, UnknownExtensionIsRefusedAndNothingWritten) {
  const TemporaryFolder folder;
  EXPECT_HAS(input_error([&] { write_image(folder / "a.gif", pattern()); }),
             "a.gif: cannot write a picture under this name; supported are JPEG (.jpg, .jpeg), PNG (.png), WebP (.webp)");
  EXPECT_HAS(input_error([&] { write_image(folder / "b.png", Tensor::empty({2, 2, 4})); }), "b.png: expects a picture");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Image, EveryFormatKeepsWhatItHolds) {
  const TemporaryFolder folder;
  const Picture picture{
      .pixels = pattern(), .alpha = pattern().columns(1, 2).contiguous(), .icc = read_file(fixture("rgb.icc"))};
  for (const char* name : {"a.png", "a.webp"}) {
    write_picture(folder / name, picture);
    const Picture back = read_picture(folder / name);
    EXPECT_EQ(difference(back.pixels, picture.pixels), 0) << name;
    EXPECT_EQ(difference(back.alpha, picture.alpha), 0) << name;
    EXPECT_EQ(back.icc, picture.icc) << name;
  }
}

TEST(Image, WhatAFormatCannotHoldIsRefusedWithARemedy) {
  const TemporaryFolder folder;
  const auto refused = [&](const char* name, const Picture& picture) {
    return input_error([&] { write_picture(folder / name, picture); });
  };
  EXPECT_HAS(refused("a.jpg", read_picture(fixture("rgba.png"))),
             "a.jpg: JPEG cannot hold the picture's alpha; give a name that ends in .png or .webp");
  for (const char* name : {"a.jpg", "a.webp"})
    EXPECT_HAS(refused(name, read_picture(fixture("rgb16.png"))), "cannot hold 16 bit; give a name that ends in .png");
  EXPECT_HAS(refused("a.webp", read_picture(fixture("grey_icc.png"))),
             "a.webp: WebP cannot hold the colour profile of a grey picture; give a name that ends in .png");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Image, EightBitsOfSixteenAreTheNearest) {
  const Picture deep = read_picture(fixture("rgba16.png")), flat = to_8_bit(deep);
  EXPECT_EQ(difference(flat.pixels, read_image(fixture("rgba16.png"))), 0);
  EXPECT_EQ(difference(flat.alpha, read_picture(fixture("rgba.png")).alpha), 0);
  EXPECT_EQ(flat.icc, deep.icc);
}

TEST(Convert, EightBitRoundTripsExactly) {
  Tensor all = Tensor::empty({16, 16, 1}, DType::u8);
  for (int i = 0; i < 256; ++i) all.data<uint8_t>()[i] = uint8_t(i);
  const Tensor x = to_float(all);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(x.data<float>()[i], float(i) / 255.0f);
  EXPECT_EQ(difference(to_u8_rounded(x), all), 0);
}

TEST(Convert, SixteenBitLevelsAreRoundedOrTruncated) {
  const Tensor x = Tensor::of<float>({5}, {-1, 7, std::numeric_limits<float>::quiet_NaN(), 1.7f / 65535, 40000.2f / 65535});
  const int rounded[] = {0, 65535, 0, 2, 40000}, truncated[] = {0, 65535, 0, 1, 40000};
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(to_16_bit_rounded(x).data<float>()[i], float(rounded[i]) / 65535.0f) << i;
    EXPECT_EQ(to_16_bit_truncated(x).data<float>()[i], float(truncated[i]) / 65535.0f) << i;
  }
}

TEST(Convert, RoundsHalfToEvenTruncatesAndClamps) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::of<float>({9}, {-1, 0.5f / 255, 1.5f / 255, 2.5f / 255, 0.9999f, 1, 7, nan, inf});
  const int rounded[] = {0, 0, 2, 2, 255, 255, 255, 0, 255}, truncated[] = {0, 0, 1, 2, 254, 255, 255, 0, 255};
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(to_u8_rounded(x).data<uint8_t>()[i], rounded[i]) << i;
    EXPECT_EQ(to_u8_truncated(x).data<uint8_t>()[i], truncated[i]) << i;
  }
  EXPECT_HAS(input_error([&] { to_float(x); }), "to_float: expects a u8 cpu tensor, got f32");
}

}  // namespace
}  // namespace relume
