#include "data/scan.h"

#include <bit>

#include "base/files.h"
#include "data/pil_resize.h"
#include "tests/data/pictures.h"
#include "tests/support/pictures.h"

namespace relume::test {
namespace {

// A white page with black strokes: text, a chart.
Tensor line_art(int64_t height, int64_t width) {
  Tensor t = Tensor::full({height, width, 3}, 255, DType::u8);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      if (y % 18 < 8 && (x * 7 + y / 18 * 5) % 11 < 3) std::fill_n(t.data<uint8_t>() + (y * width + x) * 3, 3, uint8_t(20));
  return t;
}

// What a camera might see: large areas of changing brightness, waves upon them, the noise of a sensor.
Tensor photo(uint64_t seed, int64_t height = 300, int64_t width = 400) {
  RandomStream random({.seed = seed, .purpose = "scene"});
  Tensor coarse = Tensor::empty({6, 8, 3}, DType::u8);
  for (int64_t i = 0; i < coarse.numel(); ++i) coarse.data<uint8_t>()[i] = uint8_t(random.below(256));
  const Tensor areas = pil_resize(coarse, height, width, PilFilter::bicubic), waves = natural_picture(height, width, seed);
  Tensor t = Tensor::empty(areas.shape(), DType::u8);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double value = 0.7 * areas.data<uint8_t>()[i] + 0.2 * waves.data<uint8_t>()[i] + 3 * random.normal();
    t.data<uint8_t>()[i] = uint8_t(std::clamp(value, 0.0, 255.0));
  }
  return t;
}

class Scan : public testing::Test {
 protected:
  std::vector<ScannedPicture> scan(int threads = 2) {
    return scan_pictures(list_files(folder_.path(), {".png", ".jpg"}, true), {.threads = threads});
  }
  TemporaryFolder folder_;
};

TEST_F(Scan, EveryPictureGetsItsFinding) {
  write_png(folder_ / "a.png", photo(1));
  write_png(folder_ / "b.png", photo(2));
  write_png(folder_ / "copy.png", photo(1));
  write_jpeg(folder_ / "like.jpg", photo(2), 60);
  write_png(folder_ / "page.png", line_art(300, 300));
  write_png(folder_ / "small.png", photo(3, 255, 400));
  write_file_atomically(folder_ / "t.png", "not a picture");
  write_jpeg(folder_ / "wrong.jpg", photo(4), 90);
  std::filesystem::rename(folder_ / "wrong.jpg", folder_ / "wrong.png");
  const auto found = scan();
  ASSERT_EQ(found.size(), 8u);
  const auto expect = [&](size_t i, Finding finding, int64_t same_as) {
    EXPECT_EQ(name_of(found[i].finding), std::string(name_of(finding))) << found[i].path << ": " << found[i].reason;
    EXPECT_EQ(found[i].same_as, same_as) << found[i].path;
  };
  expect(0, Finding::good, -1);
  expect(1, Finding::good, -1);
  expect(2, Finding::duplicate, 0);
  expect(3, Finding::near_duplicate, 1);
  expect(4, Finding::graphic, -1);
  expect(5, Finding::tiny, -1);
  expect(6, Finding::broken, -1);
  expect(7, Finding::good, -1);
  EXPECT_EQ(found[7].wrong_extension, "JPEG");
  EXPECT_EQ(found[0].wrong_extension, "");
  EXPECT_HAS(found[3].reason, "much like " + (folder_ / "b.png").string());
  EXPECT_HAS(found[5].reason, "400x255 pixels, the short side is below 256");
  EXPECT_HAS(found[6].reason, "t.png: not a picture");
  for (const int threads : {1, 5}) {
    const auto again = scan(threads);
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(again[i].reason, found[i].reason);
  }
}

// Both are bright in the middle and so have the same hash, as many scenes have.
TEST_F(Scan, ScenesLitAlikeAreNotTakenForOne) {
  for (const int scene : {0, 1}) {
    Tensor t = photo(1, 270, 288);
    for (int64_t i = 0; i < t.numel(); ++i) {
      const int64_t x = i / 3 % 288, noise = t.data<uint8_t>()[i] % 4;
      const int64_t light = 120 - std::abs(x - 144) / 2;
      t.data<uint8_t>()[i] = uint8_t(light + noise + (scene == 1 && i % 3 == 0 ? 100 : 0));
    }
    write_png(folder_ / (std::to_string(scene) + ".png"), t);
  }
  const auto found = scan();
  EXPECT_EQ(std::popcount(found[0].sketch.dhash ^ found[1].sketch.dhash), 0);
  EXPECT_EQ(found[0].reason + found[1].reason, "");
}

TEST_F(Scan, MissingFilesOfAListAreBrokenOnes) {
  const auto found = scan_pictures({folder_ / "none.png"}, {});
  EXPECT_EQ(found[0].finding, Finding::broken);
  EXPECT_HAS(found[0].reason, "none.png: cannot open");
}

TEST(PictureSketch, SurvivesResizingAndTellsPicturesApart) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const Tensor picture = photo(seed);
    const uint64_t hash = sketch_of(picture).dhash;
    EXPECT_LE(std::popcount(hash ^ sketch_of(pil_resize(picture, 225, 300, PilFilter::bicubic)).dhash), 6) << seed;
    EXPECT_GT(std::popcount(hash ^ sketch_of(photo(seed + 100)).dhash), 6) << seed;
  }
  EXPECT_EQ(sketch_of(Tensor::full({1, 1, 3}, 9, DType::u8)).dhash, 0u);
}

TEST(PictureSketch, BitsAreWhereTheHeaderSays) {
  Tensor t = Tensor::zeros({8, 9, 3}, DType::u8);
  t.data<uint8_t>()[(2 * 9 + 4) * 3 + 1] = 200;  // row 2, cell 4 is brighter than cell 3
  EXPECT_EQ(sketch_of(t).cells[(2 * 9 + 4) * 3 + 1], 200);
  EXPECT_EQ(sketch_of(t).dhash, uint64_t(1) << (8 * 2 + 3));
}

TEST(GraphicMeasure, CountsWhatItSays) {
  Tensor t = Tensor::zeros({2, 3, 3}, DType::u8);
  t.data<uint8_t>()[0] = 7;
  const GraphicMeasure m = measure_graphic(t);
  EXPECT_DOUBLE_EQ(m.equal, 5.0 / 7);  // of 4 pairs to the right and 3 below, the first pixel's two differ
  EXPECT_EQ(m.colours, 2);
  EXPECT_EQ(m.common, 1);
}

TEST(GraphicMeasure, PhotographsPassGraphicsDoNot) {
  const auto verdict = [](const Tensor& t) { return graphic_reason(measure_graphic(t), t.shape(0) * t.shape(1)); };
  for (const char* name : {"photo_rgb.jpg", "photo_rgb.decoded.png"}) EXPECT_EQ(verdict(read_image(fixture(name))), "") << name;
  EXPECT_EQ(verdict(photo(5)), "");
  EXPECT_HAS(verdict(line_art(300, 300)), "equal");
  EXPECT_HAS(verdict(decode_image(encode_jpeg(line_art(600, 600), 90), "page.jpg")), "more than in photographs");
  EXPECT_EQ(graphic_reason({.equal = 0.2, .common = 0.6, .colours = 20}, 100000), "only 20 colours, fewer than in photographs");
  Tensor grey = photo(7);
  for (int64_t i = 0; i < grey.numel(); i += 3)
    grey.data<uint8_t>()[i + 1] = grey.data<uint8_t>()[i + 2] = grey.data<uint8_t>()[i];
  EXPECT_EQ(verdict(grey), "") << "a grey photograph has few colours by nature";
}

}  // namespace
}  // namespace relume::test
