#include "models/autoencoder_tiles.h"

#include <gtest/gtest.h>

#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

// {begin, end, owned_begin, owned_end} of each.
std::vector<std::vector<int64_t>> numbers(const std::vector<AutoencoderTile>& tiles) {
  std::vector<std::vector<int64_t>> out;
  for (const AutoencoderTile& t : tiles) out.push_back({t.begin, t.end, t.owned_begin, t.owned_end});
  return out;
}
using Numbers = std::vector<std::vector<int64_t>>;

TEST(AutoencoderTiles, TilesOfAnAxisAreThePublishedOnes) {
  EXPECT_EQ(numbers(autoencoder_tiles(136, 32, 32)), (Numbers{{0, 96, 0, 64}, {32, 128, 64, 96}, {64, 136, 96, 136}}));
  EXPECT_EQ(numbers(autoencoder_tiles(104, 32, 32)), (Numbers{{0, 96, 0, 64}, {32, 104, 64, 104}}));
  EXPECT_EQ(numbers(autoencoder_tiles(34, 8, 11)), (Numbers{{0, 30, 0, 19}, {8, 34, 19, 34}}));
  EXPECT_EQ(numbers(autoencoder_tiles(27, 8, 11)), (Numbers{{0, 27, 0, 27}}));
}

class AutoencoderTilesTest : public testing::Test {
 protected:
  AutoencoderTilesTest() { randomise(vae_, 3); }
  const AutoencoderKL vae_{small_control_ldm_config().vae};
};

TEST_F(AutoencoderTilesTest, OneTileIsTheWhole) {
  const NoGrad no_grad;
  const Tensor pictures = uniform({1, 96, 64, 3}, 1, -1, 1), latents = uniform({1, 30, 27, 4}, 2);
  EXPECT_TRUE(same_bits(moments_in_tiles(vae_, pictures, 32), vae_.moments(pictures)));
  EXPECT_TRUE(same_bits(decoded_in_tiles(vae_, latents, 8), vae_.decode(latents)));
}

// Near the whole and not equal: the norms' statistics are shared, not exact. Samples do not see each other.
TEST_F(AutoencoderTilesTest, TilesComeNearTheWhole) {
  const NoGrad no_grad;
  const Tensor pictures = uniform({2, 104, 136, 3}, 1, -1, 1), latents = uniform({2, 34, 27, 4}, 2);
  const Tensor moments = moments_in_tiles(vae_, pictures, 32), decoded = decoded_in_tiles(vae_, latents, 8);
  EXPECT_EQ(moments.shape(), Shape({2, 13, 17, 8}));
  EXPECT_EQ(decoded.shape(), Shape({2, 272, 216, 3}));
  EXPECT_LE(relative_l2(moments, vae_.moments(pictures)), 0.2);
  EXPECT_LE(relative_l2(decoded, vae_.decode(latents)), 0.2);
  EXPECT_GT(relative_l2(decoded, vae_.decode(latents)), 1e-5);
  EXPECT_LE(relative_l2(moments_in_tiles(vae_, pictures.slice(1, 2), 32), moments.slice(1, 2)), 1e-6);
  EXPECT_TRUE(same_bits(decoded_in_tiles(vae_, latents.slice(1, 2), 8), decoded.slice(1, 2)));
}

// The steps that tiles go are those of the network.
TEST_F(AutoencoderTilesTest, TheStepsAreTheNetwork) {
  const NoGrad no_grad;
  const auto along = [](const AutoencoderSteps& steps, const Tensor& x) {
    Tensor map = x, kept;
    for (const AutoencoderStep& step : steps) {
      if (step.keeps) kept = map;
      map = step.behind_norm(step.norm ? (*step.norm)(map) : map, kept);
    }
    return map;
  };
  const Tensor picture = uniform({1, 32, 24, 3}, 1, -1, 1), latents = uniform({1, 4, 5, 4}, 2);
  EXPECT_TRUE(same_bits(along(vae_.encoder.steps(), picture), vae_.encoder(picture)));
  EXPECT_TRUE(same_bits(along(vae_.decoder.steps(), latents), vae_.decoder(latents)));
}

}  // namespace
}  // namespace relume::test
