#include "infer/tiling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "autograd/resample.h"
#include "data/resize.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using Origins = std::vector<int64_t>;

Tensor same(const Tensor& tile, const TileWindow&) { return tile; }

TEST(Tiling, OriginsEndFlushWithTheAxis) {
  EXPECT_EQ(tile_origins(7, 7, 3), (Origins{0}));
  EXPECT_EQ(tile_origins(8, 7, 3), (Origins{0, 1}));
  EXPECT_EQ(tile_origins(10, 7, 3), (Origins{0, 3}));
  EXPECT_EQ(tile_origins(11, 7, 3), (Origins{0, 3, 4}));
  EXPECT_EQ(tile_origins(3, 1, 1), (Origins{0, 1, 2}));
}

TEST(Tiling, GaussianWeightsAreTheFormula) {
  const Tensor w = gaussian_weights(3, 5);
  for (int64_t y = 0; y < 3; ++y)
    for (int64_t x = 0; x < 5; ++x) {
      const double dx = (double(x) - 2) / 5, dy = (double(y) - 1.5) / 3;
      const double expected = std::exp(-(dx * dx + dy * dy) / 0.02) / (0.02 * std::numbers::pi);
      EXPECT_NEAR(w.data<double>()[y * 5 + x], expected, 1e-12 * expected) << y << ' ' << x;
    }
}

TEST(Tiling, TilesOfAMapGiveItBack) {
  for (const TileBlend blend : {TileBlend::gaussian, TileBlend::uniform}) {
    const Tensor x = uniform({2, 23, 31, 3}, 1);
    EXPECT_LT(largest_difference(run_tiled(x, {.size = 9, .stride = 4, .blend = blend}, same), x), 1e-6);
    // The first eight columns belong to one tile alone.
    const Tensor wide = run_tiled(x, {.size = 23, .stride = 8, .blend = blend}, same);
    EXPECT_TRUE(same_bits(cut_tile(wide, {.size = 8}), cut_tile(x, {.size = 8})));
    const Tensor square = uniform({1, 9, 9, 1}, 2);
    EXPECT_TRUE(same_bits(run_tiled(square, {.size = 9, .stride = 1, .blend = blend}, same), square));
  }
}

// sum(w * tile) / sum(w) in double, from the definition.
TEST(Tiling, OverlapsAreBlendedByTheWeights) {
  const int64_t height = 11, width = 14;
  const Tiling tiling{.size = 6, .stride = 4};
  const auto number = [](const TileWindow& w) { return double(w.top * 100 + w.left); };
  const Tensor blended = run_tiled(Tensor::zeros({1, height, width, 1}), tiling, [&](const Tensor& tile, const TileWindow& w) {
    return Tensor::full(tile.shape(), number(w));
  });
  std::vector<double> sum(size_t(height * width)), weights(sum);
  const Tensor gauss = gaussian_weights(6, 6);
  for (const TileWindow& w : tile_windows(height, width, tiling))
    for (int64_t y = 0; y < 6; ++y)
      for (int64_t x = 0; x < 6; ++x) {
        const size_t at = size_t((w.top + y) * width + w.left + x);
        sum[at] += gauss.data<double>()[y * 6 + x] * number(w);
        weights[at] += gauss.data<double>()[y * 6 + x];
      }
  for (size_t i = 0; i < sum.size(); ++i)
    EXPECT_NEAR(blended.data<float>()[i], sum[i] / weights[i], 1e-6 * (1 + sum[i] / weights[i])) << i;
}

TEST(Tiling, ResultsMayGrowAndShrink) {
  const Tensor x = uniform({1, 18, 26, 2}, 3);
  const Tensor large = run_tiled(x, {.size = 7, .stride = 5, .up = 3},
                                 [](const Tensor& tile, const TileWindow&) { return upsample_nearest(tile, 3); });
  EXPECT_LT(largest_difference(large, upsample_nearest(x, 3)), 1e-6);
  const Tensor small = run_tiled(x, {.size = 8, .stride = 4, .down = 2}, [](const Tensor& tile, const TileWindow&) {
    return resize_torch(tile, tile.shape(1) / 2, tile.shape(2) / 2, TorchResize::area);
  });
  EXPECT_LT(largest_difference(small, resize_torch(x, 9, 13, TorchResize::area)), 1e-6);
}

TEST(Tiling, OtherMapsAreCutByTheWindow) {
  const Tensor x = uniform({1, 10, 12, 2}, 4), other = uniform({1, 10, 12, 5}, 5);
  const Tensor y =
      run_tiled(x, {.size = 5, .stride = 3}, [&](const Tensor&, const TileWindow& window) { return cut_tile(other, window); });
  EXPECT_LT(largest_difference(y, other), 1e-6);
}

TEST(Tiling, AnEightBitPictureIsCutAsItIs) {
  const Tensor x = Tensor::full({1, 8, 9, 3}, 7, DType::u8);
  const Tensor y = run_tiled(x, {.size = 4, .stride = 4}, [](const Tensor& tile, const TileWindow&) {
    EXPECT_EQ(tile.dtype(), DType::u8);
    return tile.to(DType::f32);
  });
  EXPECT_EQ(y.dtype(), DType::f32);
  EXPECT_LT(largest_difference(y, Tensor::full({1, 8, 9, 3}, 7)), 1e-6);
}

TEST(Tiling, HoldsTheResultAndOneTile) {
  const Tensor x = uniform({1, 256, 256, 3}, 6);
  allocator({}).reset_peak();
  const int64_t before = allocator({}).bytes_in_use();
  const Tensor y = run_tiled(x, {.size = 64, .stride = 32}, [](const Tensor& tile, const TileWindow&) { return tile.clone(); });
  EXPECT_LT(allocator({}).peak_bytes() - before, 256 * 256 * 3 * 4 + 2 * 64 * 64 * 3 * 4 + 8192);
}

TEST(Tiling, ProgressHearsOfEveryTileAndMayEndIt) {
  const Tensor x = uniform({1, 9, 9, 1}, 7);
  int64_t heard = 0;
  run_tiled(x, {.size = 4, .stride = 3}, same, [&](int64_t done, int64_t of) {
    EXPECT_EQ(done, ++heard);
    EXPECT_EQ(of, 9);
  });
  EXPECT_EQ(heard, 9);
  EXPECT_THROW(run_tiled(x, {.size = 4, .stride = 3}, same, [](int64_t, int64_t) { throw Interrupted("enough"); }),
               Interrupted);
}

TEST(Tiling, RefusesWhatDoesNotFit) {
  const Tensor x = uniform({1, 9, 8, 1}, 8);
  const auto refusal = [&](const Tiling& t) { return input_error([&] { run_tiled(x, t, same); }); };
  EXPECT_HAS(refusal({.size = 9, .stride = 3}), "tiles of 9 pixels do not fit a map of 8x9");
  EXPECT_HAS(refusal({.size = 4, .stride = 5}), "the stride at most the size");
  EXPECT_HAS(refusal({.size = 4, .stride = 0}), "expected a size and a stride of 1 or more");
  EXPECT_HAS(refusal({.size = 4, .stride = 4, .up = 2, .down = 2}), "expected one of them to be 1");
  EXPECT_HAS(refusal({.size = 4, .stride = 4, .down = 2}), "expected multiples of 2");
  EXPECT_HAS(refusal({.size = 4, .stride = 4, .up = 2}), "a tile became f32 cpu [1, 4, 4, 1], expected f32 cpu [1, 8, 8, C]");
  EXPECT_HAS(input_error([&] { cut_tile(x, {.top = 6, .left = 0, .size = 4}); }), "a tile of 4 pixels at (6, 0)");
}

}  // namespace
}  // namespace relume::test
