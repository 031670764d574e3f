#include "infer/cleaner.h"

#include <gtest/gtest.h>

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "data/convert.h"
#include "data/resize.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

// A network that knows nothing of a pixel's neighbours, so that tiles and the whole must agree.
Cleaner pointwise(int64_t multiple, int64_t scale = 1) {
  return {.network =
              [=](const Tensor& x) {
                return upsample_nearest(channel_affine(x, {0.5, 0.6, 0.7}, {0.1, 0, 0}), int(scale));
              },
          .multiple = multiple,
          .scale = scale};
}

Tensor batch_of(const Tensor& picture) { return picture.reshape({1, picture.shape(0), picture.shape(1), 3}); }

TEST(Cleaner, SmallPicturesAreEnlargedPaddedAndCropped) {
  const Tensor lq = to_float(natural_picture(13, 21, 1));
  Shape seen;
  Cleaner cleaner = pointwise(8);
  cleaner.network = [&seen, f = cleaner.network](const Tensor& x) {
    seen = x.shape();
    return f(x);
  };
  const Tensor y = clean(cleaner, lq, {.short_side = 20});
  EXPECT_EQ(seen, (Shape{1, 24, 32, 3}));
  EXPECT_EQ(y.shape(), (Shape{20, 32, 3}));  // 21 * 20 / 13 = 32.3, truncated
  EXPECT_TRUE(same_bits(y, pointwise(8).network(batch_of(resize_short_side(lq, 20))).reshape({20, 32, 3})));
  EXPECT_EQ(clean(cleaner, lq, {.short_side = 13}).shape(), (Shape{13, 21, 3}));
  EXPECT_EQ(seen, (Shape{1, 16, 24, 3}));
}

TEST(Cleaner, SmallPicturesMayBeEnlargedWhenTheyAreClean) {
  const Tensor lq = to_float(natural_picture(13, 21, 1));
  Cleaner cleaner = pointwise(1);
  cleaner.enlarge_after = true;
  const Tensor y = clean(cleaner, lq, {.short_side = 20});
  EXPECT_EQ(y.shape(), (Shape{20, 32, 3}));
  EXPECT_TRUE(same_bits(y, resize_short_side(clean(cleaner, lq), 20)));
}

TEST(Cleaner, ANetworkThatEnlargesIsResizedToWhatIsAsked) {
  const Tensor lq = to_float(natural_picture(16, 24, 1));
  Cleaner cleaner = pointwise(1, 4);
  cleaner.enlarge_after = true;
  const Tensor whole = clean(cleaner, lq);
  ASSERT_EQ(whole.shape(), (Shape{64, 96, 3}));
  const Tensor larger = clean(cleaner, lq, {.height = 80, .width = 110, .short_side = 80});
  EXPECT_TRUE(same_bits(larger, resize_torch(whole, 80, 110, TorchResize::bicubic, {.antialias = true})));
  // Below short_side the result is made as large as that, though it was larger before.
  const Tensor smaller = clean(cleaner, lq, {.height = 32, .width = 48, .short_side = 40});
  EXPECT_TRUE(same_bits(smaller, resize_short_side(whole, 40)));
}

TEST(Cleaner, OfTheNetworksOfOtherPapers) {
  const RRDBNet enlarging({.nf = 8, .nb = 1, .gc = 4, .sf = 2});
  enlarging.initialise(1);
  EXPECT_EQ(clean(cleaner_of(enlarging), natural_picture(9, 14, 1)).shape(), (Shape{18, 28, 3}));
  const SCUNet denoising({.config = {0, 0, 0, 1, 0, 0, 0}});
  denoising.initialise(1);
  EXPECT_EQ(clean(cleaner_of(denoising), natural_picture(9, 14, 1), {.short_side = 18}).shape(), (Shape{18, 28, 3}));
}

TEST(Cleaner, TiledEqualsWholeWhereTheNetworkKnowsNoNeighbours) {
  const Tensor lq = natural_picture(29, 45, 2);
  for (const int64_t scale : {1, 2}) {
    const Cleaner cleaner = pointwise(8, scale);
    const Tensor whole = clean(cleaner, lq), tiled = clean(cleaner, lq, {.tile = 16, .tile_stride = 11});
    ASSERT_EQ(whole.shape(), (Shape{29 * scale, 45 * scale, 3}));
    EXPECT_LT(largest_difference(tiled, whole), 1e-6);
  }
}

TEST(Cleaner, TilesAreTakenAsTheyAre) {
  const SwinIR network(small_network());
  network.initialise(3);
  const Cleaner cleaner = cleaner_of(network);
  EXPECT_EQ(cleaner.multiple, 8);
  const Tensor lq = to_float(natural_picture(32, 32, 3));
  const Tensor y = clean(cleaner, lq, {.tile = 16, .tile_stride = 16});  // side by side: nothing is blended
  const NoGrad no_grad;
  for (const int64_t top : {0, 16})
    for (const int64_t left : {0, 16}) {
      const TileWindow window{top, left, 16};
      EXPECT_TRUE(same_bits(cut_tile(batch_of(y), window), network(cut_tile(batch_of(lq), window)))) << top << ' ' << left;
    }
}

TEST(Cleaner, TheShortSideOfATiledPictureIsEnlargedAfterwards) {
  const Tensor lq = to_float(natural_picture(18, 25, 4));
  const CleanOptions tiled{.tile = 8, .tile_stride = 4}, both{.short_side = 40, .tile = 8, .tile_stride = 4};
  const Tensor y = clean(pointwise(8), lq, both);
  EXPECT_EQ(y.shape(), (Shape{40, 55, 3}));
  EXPECT_TRUE(same_bits(y, resize_short_side(clean(pointwise(8), lq, tiled), 40)));
}

TEST(Cleaner, APictureBelowTheTileIsTakenWhole) {
  const Tensor lq = natural_picture(15, 40, 5);
  const CleanOptions options{.tile = 16, .tile_stride = 8};
  EXPECT_FALSE(is_tiled(options, 15, 40));
  EXPECT_TRUE(is_tiled(options, 16, 40));
  EXPECT_TRUE(same_bits(clean(pointwise(8), lq, options), clean(pointwise(8), lq)));
}

// A position embedding fits maps of one size: smaller pictures are padded to it, larger ones tiled by it.
TEST(Cleaner, ANetworkOfOneSizeIsGivenThat) {
  SwinIRConfig config = small_network();
  config.ape = true;
  const SwinIR network(config);
  network.initialise(3);
  const Cleaner cleaner = cleaner_of(network);
  EXPECT_EQ(cleaner.only_side, 16);
  EXPECT_EQ(clean(cleaner, natural_picture(5, 13, 1)).shape(), (Shape{5, 13, 3}));
  EXPECT_EQ(clean(cleaner, natural_picture(40, 21, 1), {.tile = 16, .tile_stride = 8}).shape(), (Shape{40, 21, 3}));
  EXPECT_HAS(input_error([&] { clean(cleaner, natural_picture(40, 21, 1)); }), "position embedding");
}

TEST(Cleaner, RefusesTilesThatTheNetworkCannotTake) {
  EXPECT_HAS(input_error([] { clean(pointwise(8), natural_picture(30, 30, 6), {.tile = 20, .tile_stride = 10}); }),
             "tiles of 20 pixels; this network takes multiples of 8");
  EXPECT_HAS(input_error([] {
               clean(pointwise(8), Tensor::zeros({5, 5}));
             }),
             "expects a picture [H, W, 3], got f32 cpu [5, 5]");
}

}  // namespace
}  // namespace relume::test
