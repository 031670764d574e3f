#include "data/crop.h"

#include <set>

#include "data/image.h"
#include "data/pil_resize.h"
#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::fixture, test::input_error, test::pattern, test::pixel;

RandomStream stream(uint32_t sample = 0) { return RandomStream({.seed = 7, .purpose = "crop_test", .sample = sample}); }

TEST(PilResize, EqualsPillowGreyLevelForGreyLevel) {
  struct Case {
    PilFilter filter;
    const char* name;
    int width, height;
  };
  for (const Case& c : {Case{PilFilter::bicubic, "bicubic", 35, 40}, Case{PilFilter::bicubic, "bicubic", 9, 7},
                        Case{PilFilter::bicubic, "bicubic", 23, 5}, Case{PilFilter::bicubic, "bicubic", 61, 17},
                        Case{PilFilter::box, "box", 11, 8}, Case{PilFilter::box, "box", 1, 1}}) {
    const std::string file = detail::concat("resize_", c.name, "_", c.width, "x", c.height, ".png");
    EXPECT_EQ(difference(pil_resize(pattern(), c.height, c.width, c.filter), read_image(fixture(file))), 0) << file;
  }
  EXPECT_HAS(input_error([] { pil_resize(pattern(), 0, 3, PilFilter::box); }), "3x0 is empty");
}

TEST(Crop, CentreEqualsTheReference) {
  for (int size : {3, 8, 12, 20}) {
    RandomStream random = stream();
    const CropPlan plan = plan_crop(17, 23, {.kind = CropKind::center, .size = size}, random, "p");
    const Tensor expected = read_image(fixture(detail::concat("centre_crop_", size, ".png")));
    EXPECT_EQ(difference(apply_crop(pattern(), size, plan), expected), 0) << size;
  }
}

TEST(Crop, RandomCoversItsRangeAndReplays) {
  const CropOptions options{.kind = CropKind::random, .size = 32, .min_fraction = 0.7};
  std::set<int64_t> sides;
  for (uint32_t i = 0; i < 1000; ++i) {
    RandomStream random = stream(i), again = stream(i);
    const CropPlan plan = plan_crop(50, 90, options, random, "p");
    EXPECT_EQ(plan, plan_crop(50, 90, options, again, "p"));
    sides.insert(plan.short_side);
    const int64_t long_side = int64_t(std::nearbyint(90.0 * (double(plan.short_side) / 50.0)));
    EXPECT_LE(plan.y, plan.short_side - 32);
    EXPECT_LE(plan.x, long_side - 32);
    EXPECT_GE(std::min(plan.x, plan.y), 0);
    EXPECT_EQ(apply_crop(pattern(50, 90), 32, plan).shape(), (Shape{32, 32, 3}));
  }
  EXPECT_EQ(*sides.begin(), 32);
  EXPECT_EQ(*sides.rbegin(), 46);  // ceil(32 / 0.7)
  EXPECT_EQ(sides.size(), 15u);
}

TEST(Crop, PatchIsCutFromThePictureAsItIs) {
  std::set<std::pair<int64_t, int64_t>> corners;
  for (uint32_t i = 0; i < 300; ++i) {
    RandomStream random = stream(i);
    const CropPlan plan = plan_crop(17, 23, {.kind = CropKind::patch, .size = 16}, random, "p");
    const Tensor patch = apply_crop(pattern(), 16, plan);
    EXPECT_EQ(pixel(patch, 15, 3, 1), pixel(pattern(), plan.y + 15, plan.x + 3, 1));
    corners.insert({plan.y, plan.x});
  }
  EXPECT_EQ(corners.size(), 2u * 8u);  // every corner is reached
}

TEST(Crop, APictureOfTheRightSizeIsUsedUnchanged) {
  for (CropKind kind : {CropKind::none, CropKind::center, CropKind::random, CropKind::patch}) {
    RandomStream random = stream();
    const CropPlan plan = plan_crop(16, 16, {.kind = kind, .size = 16}, random, "p");
    EXPECT_EQ(difference(apply_crop(pattern(16, 16), 16, plan), pattern(16, 16)), 0);
  }
}

TEST(Crop, RefusesWhatCannotBeMet) {
  RandomStream random = stream();
  EXPECT_HAS(input_error([&] { plan_crop(10, 90, {.kind = CropKind::patch, .size = 48}, random, "small.jpg"); }),
             "small.jpg: picture of 90x10 pixels is too small for patches of 48x48");
  EXPECT_HAS(input_error([&] { plan_crop(90, 48, {.kind = CropKind::none, .size = 48}, random, "odd.jpg"); }),
             "odd.jpg: 48x90 pixels, but without cropping every picture must have 48x48");
  EXPECT_HAS(input_error([&] { plan_crop(1, 200000, {.kind = CropKind::center, .size = 512}, random, "line.png"); }),
             "line.png: picture of 200000x1 pixels is too narrow");
  EXPECT_HAS(input_error([&] { plan_crop(9, 9, {.kind = CropKind::random, .size = 4, .min_fraction = 0}, random, "p"); }),
             "min_fraction");
  EXPECT_EQ(parse_crop_kind("patch"), CropKind::patch);
  EXPECT_HAS(input_error([] { parse_crop_kind("centre"); }),
             "crop 'centre' is none of none, center, random, patch (did you mean 'center'?)");
}

TEST(Crop, CutAndFlip) {
  const Tensor image = pattern(), part = cut(image, 2, 3, 5, 7), flipped = flip_horizontal(image);
  ASSERT_EQ(part.shape(), (Shape{5, 7, 3}));
  for (int64_t y = 0; y < 5; ++y)
    for (int64_t x = 0; x < 7; ++x) EXPECT_EQ(pixel(part, y, x, 2), pixel(image, y + 2, x + 3, 2));
  EXPECT_EQ(pixel(flipped, 4, 0, 1), pixel(image, 4, 22, 1));
  EXPECT_EQ(difference(flip_horizontal(flipped), image), 0);
  EXPECT_HAS(input_error([&] { cut(image, 13, 0, 5, 5); }), "does not lie inside");
}

}  // namespace
}  // namespace relume
