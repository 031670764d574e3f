#include "infer/restore.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/files.h"
#include "data/checkpoint/safetensors.h"
#include "data/convert.h"
#include "data/image.h"
#include "data/pil_resize.h"
#include "data/resize.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_network.h"
#include "tests/support/threads.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

// Not the identity, as small_network() begins.
SwinIRConfig changing_network() {
  SwinIRConfig config = small_network();
  config.zero_last = false;
  return config;
}

void write_weights(const fs::path& path, const SwinIR& network, bool with_configuration = true) {
  NamedTensors entries;
  for (const NamedTensor& t : stored_state(network)) entries.emplace_back(t.name, t.tensor);
  write_safetensors(path, entries,
                    with_configuration ? std::map<std::string, std::string>{{"relume.swinir", to_yaml(network.config())}}
                                       : std::map<std::string, std::string>{});
}

// The network on the picture set into a larger black one, and the result's corner cut out, all by hand.
Tensor by_hand(const SwinIR& network, const Tensor& picture, int64_t height, int64_t width) {
  Tensor x = Tensor::zeros({1, height, width, 3});
  const int64_t h = picture.shape(0), w = picture.shape(1), s = network.output_scale();
  for (int64_t y = 0; y < h; ++y)
    for (int64_t i = 0; i < w * 3; ++i)
      x.data<float>()[y * width * 3 + i] = float(picture.data<uint8_t>()[y * w * 3 + i]) / 255.f;
  const NoGrad no_grad;
  const Tensor restored = network(x);
  Tensor out = Tensor::empty({h * s, w * s, 3});
  for (int64_t y = 0; y < h * s; ++y)
    std::memcpy(out.data<float>() + y * w * s * 3, restored.data<float>() + y * width * s * 3,
                size_t(w * s * 3) * sizeof(float));
  return out;
}

// A picture in memory by the plan that these options make.
Picture restored_by(const Cleaner& cleaner, const Picture& picture, const PlanOptions& options, bool sixteen_bit = true) {
  const PictureHeader header{picture.pixels.shape(0), picture.pixels.shape(1), bool(picture.alpha),
                             picture.pixels.dtype() == DType::f32, picture.grey};
  const PicturePlan plan = plan_picture(header, cleaner, options, nullptr);
  return finished_picture(cleaned_picture(cleaner, picture, plan), picture, plan, sixteen_bit);
}

class Restore : public testing::Test {
 protected:
  void SetUp() override {
    network_.initialise(3);
    write_weights(weights(), network_);
  }
  fs::path weights() const { return folder_ / "weights.safetensors"; }
  RestoreOptions options(const std::string& in, const std::string& out) const {
    return {.input = folder_ / in, .output = folder_ / out, .weights = weights()};
  }
  TemporaryFolder folder_;
  SwinIR network_{changing_network()};
};

TEST_F(Restore, PicturesArePaddedWithZerosAndCropped) {
  const Tensor picture = natural_picture(13, 22, 1);
  const Tensor restored = restore_picture(network_, picture);
  ASSERT_EQ(restored.shape(), (Shape{13, 22, 3}));
  EXPECT_TRUE(same_bits(restored, by_hand(network_, picture, 16, 24)));
  EXPECT_TRUE(
      same_bits(restore_picture(network_, natural_picture(16, 8, 2)), by_hand(network_, natural_picture(16, 8, 2), 16, 8)));
  EXPECT_EQ(restore_picture(network_, natural_picture(1, 1, 2)).shape(), (Shape{1, 1, 3}));
}

TEST_F(Restore, AnEnlargingNetworkEnlarges) {
  const SwinIR network(
      {.img_size = 8, .embed_dim = 8, .depths = {2}, .num_heads = {2}, .window_size = 4, .sf = 2, .unshuffle = false});
  network.initialise(4);
  const Tensor picture = natural_picture(6, 9, 1);
  const Tensor restored = restore_picture(network, picture);
  ASSERT_EQ(restored.shape(), (Shape{12, 18, 3}));
  EXPECT_TRUE(same_bits(restored, by_hand(network, picture, 8, 12)));
}

TEST_F(Restore, WritesThePictureItComputed) {
  const Tensor picture = natural_picture(20, 30, 1);
  write_png(folder_ / "in.png", picture);
  EXPECT_EQ(restore_files(options("in.png", "new/folder/out.png")).restored, 1);
  EXPECT_TRUE(same_bits(read_image(folder_ / "new/folder/out.png"), to_u8_truncated(restore_picture(network_, picture))));
}

// A picture of 16 bit with alpha and a profile.
Picture rich_picture(int64_t height, int64_t width) {
  Picture picture{.pixels = Tensor::empty({height, width, 3}),
                  .alpha = Tensor::empty({height, width, 1}),
                  .icc = read_file(source_folder() / "tests/fixtures/pictures/rgb.icc")};
  for (Tensor* part : {&picture.pixels, &picture.alpha})
    for (int64_t i = 0; i < part->numel(); ++i) part->data<float>()[i] = float((i * 7919 + 100) % 65536) / 65535.0f;
  return picture;
}

TEST_F(Restore, KeepsAlphaSixteenBitsAndProfile) {
  const Picture picture = rich_picture(13, 22);
  write_picture(folder_ / "in.png", picture);
  restore_files(options("in.png", "out.png"));
  const Picture deep = read_picture(folder_ / "out.png");
  const Tensor restored = restore_picture(network_, picture.pixels);
  EXPECT_TRUE(same_bits(deep.pixels, to_16_bit_truncated(restored)));
  EXPECT_TRUE(same_bits(deep.alpha, picture.alpha));
  EXPECT_EQ(deep.icc, picture.icc);
  EXPECT_FALSE(deep.grey);
  restore_files(options("in.png", "out.webp"));  // which holds 8 bit
  const Picture flat = read_picture(folder_ / "out.webp");
  EXPECT_TRUE(same_bits(flat.pixels, to_u8_truncated(restored)));
  EXPECT_TRUE(same_bits(flat.alpha, to_u8_rounded(picture.alpha)));
  EXPECT_EQ(flat.icc, picture.icc);
}

TEST_F(Restore, SixteenBitsReachTheNetwork) {
  Tensor fine = Tensor::full({8, 8, 3}, 0.5), coarse = to_float(to_u8_rounded(fine));
  EXPECT_FALSE(same_bits(restore_picture(network_, fine), restore_picture(network_, coarse)));
}

TEST_F(Restore, EightBitAlphaStaysAsItIs) {
  const Picture flat = to_8_bit(rich_picture(9, 14)), restored = restored_by(cleaner_of(network_), flat, {});
  EXPECT_TRUE(same_bits(restored.pixels, to_u8_truncated(restore_picture(network_, flat.pixels))));
  EXPECT_TRUE(same_bits(restored.alpha, flat.alpha));
}

TEST_F(Restore, AlphaGrowsWithThePicture) {
  const SwinIR network(
      {.img_size = 8, .embed_dim = 8, .depths = {2}, .num_heads = {2}, .window_size = 4, .sf = 2, .unshuffle = false});
  network.initialise(4);
  Picture picture{.pixels = natural_picture(6, 9, 1), .alpha = Tensor::full({6, 9, 1}, 255, DType::u8)};
  for (int64_t i = 0; i < 6 * 9; ++i)
    if (i % 9 < 4) picture.alpha.data<uint8_t>()[i] = 10;
  const Tensor alpha = restored_by(cleaner_of(network), picture, {}).alpha;
  ASSERT_EQ(alpha.shape(), (Shape{12, 18, 1}));
  for (int64_t y = 0; y < 12; ++y) {
    const uint8_t* row = alpha.data<uint8_t>() + y * 18;
    EXPECT_EQ(row[2], 10);  // away from the edge at 4 both sides keep their value
    EXPECT_EQ(row[17], 255);
    EXPECT_GT(row[8], row[7]);
  }
}

Cleaner identity() {
  return {.network = [](const Tensor& x) { return x.clone(); }, .multiple = 8};
}

TEST_F(Restore, EnlargingResizesAsPillowDoesFirst) {
  const Picture picture{.pixels = natural_picture(11, 19, 1)};
  const Picture out = restored_by(identity(), picture, {.upscale = 2.5});
  EXPECT_TRUE(same_bits(out.pixels, to_u8_truncated(to_float(pil_resize(picture.pixels, 27, 47, PilFilter::bicubic)))));
}

TEST_F(Restore, TheResultOfAShortSideComesBackToTheSizeAskedFor) {
  const Picture picture{.pixels = natural_picture(11, 19, 1)};
  const Picture out = restored_by(identity(), picture, {.upscale = 2, .short_side = 40});
  const Tensor first = to_float(pil_resize(picture.pixels, 22, 38, PilFilter::bicubic)), middle = resize_short_side(first, 40);
  ASSERT_EQ(middle.shape(), (Shape{40, 69, 3}));
  EXPECT_TRUE(same_bits(out.pixels, to_u8_truncated(resize_torch(middle, 22, 38, TorchResize::bicubic, {.antialias = true}))));
}

TEST_F(Restore, SixteenBitsAreEnlargedWithoutRoundingToEight) {
  Picture picture = rich_picture(9, 14), flat = to_8_bit(picture);
  const Picture deep = restored_by(identity(), picture, {.upscale = 3});
  ASSERT_EQ(deep.pixels.shape(), (Shape{27, 42, 3}));
  ASSERT_EQ(deep.alpha.shape(), (Shape{27, 42, 1}));
  EXPECT_EQ(deep.icc, picture.icc);
  int64_t between = 0;
  for (int64_t i = 0; i < deep.pixels.numel(); ++i) {
    const float level = deep.pixels.data<float>()[i] * 65535;
    EXPECT_EQ(level, std::nearbyint(level));
    between += int64_t(level) % 257 != 0;
  }
  EXPECT_GT(between, deep.pixels.numel() / 2) << "levels of 16 bit, not of 8";
  // The pixels of an 8-bit picture, as 16 bit: within a level of Pillow's two roundings.
  picture.pixels = to_float(flat.pixels);
  const Tensor same = restored_by(identity(), picture, {.upscale = 3}).pixels;
  const Tensor rounded = restored_by(identity(), flat, {.upscale = 3}).pixels;
  EXPECT_LT(largest_difference(same, to_float(rounded)), 2.0 / 255);
}

TEST_F(Restore, AnEnlargingNetworkMakesTheSizeAskedForOfItsOwn) {
  const SwinIR network(
      {.img_size = 8, .embed_dim = 8, .depths = {2}, .num_heads = {2}, .window_size = 4, .sf = 2, .unshuffle = false});
  network.initialise(4);
  const Picture picture{.pixels = natural_picture(13, 22, 1)};
  const Tensor own = restore_picture(network, picture.pixels);
  EXPECT_TRUE(same_bits(restored_by(cleaner_of(network), picture, {}).pixels, to_u8_truncated(own)));
  EXPECT_TRUE(same_bits(restored_by(cleaner_of(network), picture, {.upscale = 3}).pixels,
                        to_u8_truncated(resize_torch(own, 39, 66, TorchResize::bicubic, {.antialias = true}))));
  const Picture tiled = restored_by(cleaner_of(network), picture, {.mode = TileMode::fixed, .tile = 8});
  EXPECT_EQ(tiled.pixels.shape(), (Shape{26, 44, 3}));
}

TEST_F(Restore, TiledEqualsWholeWhereTheNetworkAllows) {
  const Cleaner cleaner = identity();
  for (const Picture& picture : {Picture{.pixels = natural_picture(30, 41, 3)}, rich_picture(25, 33)}) {
    const PlanOptions whole{.upscale = 1.5}, tiled{.upscale = 1.5, .mode = TileMode::fixed, .tile = 16};
    const Picture a = restored_by(cleaner, picture, whole), b = restored_by(cleaner, picture, tiled);
    // Blending rounds, and truncation to levels may then fall to the other side.
    EXPECT_LE(largest_difference(a.pixels, b.pixels), picture.pixels.dtype() == DType::u8 ? 1.0 : 1.01 / 65535);
    EXPECT_EQ(bool(a.alpha), bool(b.alpha));
  }
}

TEST_F(Restore, ThreadsChangeNothing) {
  const Picture picture{.pixels = natural_picture(40, 52, 6)};
  expect_same_on_any_threads(
      [&] { return restored_by(cleaner_of(network_), picture, {.upscale = 1.5, .mode = TileMode::fixed, .tile = 24}).pixels; });
}

TEST_F(Restore, GreyStaysGreyWithItsProfile) {
  const fs::path in = source_folder() / "tests/fixtures/pictures/grey_icc.png";
  restore_files({.input = in, .output = folder_ / "out.jpg", .weights = weights()});
  EXPECT_TRUE(read_picture(folder_ / "out.jpg").grey);
  restore_files({.input = in, .output = folder_ / "out.png", .weights = weights()});
  const Picture out = read_picture(folder_ / "out.png");
  EXPECT_TRUE(out.grey);
  EXPECT_EQ(out.icc, read_file(source_folder() / "tests/fixtures/pictures/grey.icc"));
  const Tensor colours = restore_picture(network_, read_image(in));
  for (int64_t i = 0; i < colours.numel(); i += 3) {
    const float* rgb = colours.data<float>() + i;
    const double luma = 255 * std::clamp(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2], 0.0, 1.0);
    EXPECT_NEAR(out.pixels.data<uint8_t>()[i], luma - 0.5, 0.51) << i;
  }
}

TEST_F(Restore, WhatANameCannotHoldIsRefused) {
  write_picture(folder_ / "in.png", rich_picture(8, 8));
  EXPECT_HAS(input_error([&] { restore_files(options("in.png", "out.jpg")); }),
             "out.jpg: JPEG cannot hold the picture's alpha; give a name that ends in .png or .webp");
  Picture opaque = rich_picture(8, 8);
  opaque.alpha = {};
  write_picture(folder_ / "opaque.png", opaque);
  EXPECT_EQ(restore_files(options("opaque.png", "out.jpg")).restored, 1);  // 8 bit of 16 are fine
  EXPECT_EQ(read_picture(folder_ / "out.jpg").icc, opaque.icc);
}

TEST_F(Restore, KeepsTheStructureOfAFolder) {
  make_folder(folder_ / "in/sea/night");
  write_png(folder_ / "in/a.png", natural_picture(9, 8, 1));
  write_jpeg(folder_ / "in/sea/b.jpg", natural_picture(8, 11, 2), 90);
  write_png(folder_ / "in/sea/night/c.PNG", natural_picture(8, 8, 3));
  write_file_atomically(folder_ / "in/notes.txt", "not a picture");
  EXPECT_EQ(restore_files(options("in", "out")).restored, 3);
  EXPECT_EQ(read_image(folder_ / "out/a.png").shape(), (Shape{9, 8, 3}));
  EXPECT_EQ(read_image(folder_ / "out/sea/b.png").shape(), (Shape{8, 11, 3}));
  EXPECT_EQ(read_image(folder_ / "out/sea/night/c.png").shape(), (Shape{8, 8, 3}));
  EXPECT_FALSE(fs::exists(folder_ / "out/notes.txt"));
}

TEST_F(Restore, APictureMayGoIntoAnExistingFolder) {
  make_folder(folder_ / "out");
  write_jpeg(folder_ / "in.jpg", natural_picture(8, 8, 2), 90);
  restore_files(options("in.jpg", "out"));
  EXPECT_TRUE(fs::exists(folder_ / "out/in.png"));
}

TEST_F(Restore, ExistingResultsAreRefusedBeforeAnythingIsComputed) {
  make_folder(folder_ / "in");
  make_folder(folder_ / "out");
  write_png(folder_ / "in/a.png", natural_picture(8, 8, 1));
  write_png(folder_ / "in/b.png", natural_picture(8, 8, 2));
  write_file_atomically(folder_ / "out/b.png", "mine");
  RestoreOptions o = options("in", "out");
  o.weights = folder_ / "absent.safetensors";  // would be the next error
  const std::string message = input_error([&] { restore_files(o); });
  EXPECT_HAS(message, "out/b.png: exists already; give --overwrite");
  EXPECT_FALSE(fs::exists(folder_ / "out/a.png"));
  EXPECT_EQ(read_file(folder_ / "out/b.png"), "mine");
  o.weights = weights(), o.existing = Existing::replaced;
  EXPECT_EQ(restore_files(o).restored, 2);
  EXPECT_EQ(read_image(folder_ / "out/b.png").shape(), (Shape{8, 8, 3}));
}

TEST_F(Restore, ABrokenPictureIsReportedAndTheOthersRestored) {
  make_folder(folder_ / "in");
  for (const char* name : {"a", "b", "c"}) write_png(folder_ / "in" / (std::string(name) + ".png"), natural_picture(8, 8, 1));
  const std::string whole = read_file(folder_ / "in/b.png");
  write_file_atomically(folder_ / "in/b.png", std::string_view(whole).substr(0, whole.size() / 2));
  const std::string message = input_error([&] { restore_files(options("in", "out")); });
  EXPECT_HAS(message, "1 of 3 pictures could not be restored:\n  ");
  EXPECT_HAS(message, "in/b.png: truncated PNG");
  EXPECT_TRUE(fs::exists(folder_ / "out/a.png"));
  EXPECT_TRUE(fs::exists(folder_ / "out/c.png"));
  EXPECT_FALSE(fs::exists(folder_ / "out/b.png"));
}

TEST_F(Restore, RefusesWhatItCannotDo) {
  make_folder(folder_ / "empty");
  make_folder(folder_ / "twins");
  write_png(folder_ / "in.png", natural_picture(8, 8, 1));
  write_png(folder_ / "twins/a.png", natural_picture(8, 8, 1));
  write_jpeg(folder_ / "twins/a.jpg", natural_picture(8, 8, 1), 90);
  write_file_atomically(folder_ / "file", "");
  EXPECT_HAS(input_error([&] { restore_files(options("absent.png", "out.png")); }), "absent.png: no such file or folder");
  EXPECT_HAS(input_error([&] { restore_files(options("empty", "out")); }), "empty: holds no picture");
  EXPECT_HAS(input_error([&] { restore_files(options("in.png", "out.bmp")); }),
             "out.bmp: cannot write a picture under this name");
  EXPECT_HAS(input_error([&] { restore_files(options("twins", "out")); }), "would both become");
  EXPECT_HAS(input_error([&] { restore_files(options("twins", "file")); }),
             "file: is a file; a folder of pictures needs a folder");
  EXPECT_FALSE(fs::exists(folder_ / "out.bmp"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

}  // namespace
}  // namespace relume::test
