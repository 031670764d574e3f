#include "degrade/second_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "data/picture_batch.h"
#include "degrade/recipe.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

RandomKey key(uint32_t sample) { return {.seed = 3, .purpose = "second_order", .sample = sample}; }

std::vector<std::string> names_of(const DrawRecord& record) {
  std::vector<std::string> names;
  for (const auto& entry : record.entries) names.push_back(entry.name);
  return names;
}

TEST(SecondOrder, DrawsInTheOrderOfTheReference) {
  SecondOrderRecipe recipe{.final_sinc_prob = 1, .second_blur_prob = 1, .stage2_scale = {1, 3}};
  recipe.blur = {.kernel_list = {"plateau_aniso"}, .kernel_prob = {1}, .sinc_prob = 0};
  recipe.blur2.sinc_prob = 1;
  recipe.round = {.resize_prob = {1, 0, 0}, .gaussian_noise_prob = 1, .gray_noise_prob = 1};
  recipe.round2 = {.resize_prob = {0, 0, 1}, .resize_range = {0.3, 1.2}, .gaussian_noise_prob = 0, .gray_noise_prob = 0};
  SeededDraws kernels(key(0)), rest(key(1));
  draw_second_order_kernels(recipe, kernels);
  EXPECT_EQ(names_of(kernels.record()),
            (std::vector<std::string>{"blur1.size", "blur1.sinc", "blur1.kernel", "blur1.sigma_x", "blur1.sigma_y",
                                      "blur1.theta", "blur1.beta_side", "blur1.beta", "blur2.size", "blur2.sinc",
                                      "blur2.cutoff", "sinc", "sinc.size", "sinc.cutoff"}));
  draw_second_order(recipe, {SecondOrderKernels()}, 64, 64, rest);
  std::vector<std::string> names = names_of(rest.record());
  const std::vector<std::string> until_the_end{
      "resize1.direction", "resize1.scale", "resize1.mode",  "noise1.kind", "noise1.sigma",  "noise1.grey",
      "noise1.plane",      "noise1.colour", "jpeg1.quality", "second_blur", "stage2_scale",  "resize2.direction",
      "resize2.mode",      "noise2.kind",   "noise2.scale",  "noise2.grey", "noise2.colour", "end.resize_first"};
  ASSERT_EQ(names.size(), until_the_end.size() + 2);
  EXPECT_TRUE(std::equal(until_the_end.begin(), until_the_end.end(), names.begin()));
  EXPECT_EQ((std::set<std::string>{names.end() - 2, names.end()}), (std::set<std::string>{"end.mode", "jpeg2.quality"}));
}

TEST(SecondOrder, GivesEightBitLevelsAtTheOldSize) {
  const Tensor gt = test::uniform({72, 80, 3}, 1, 0, 1, DType::f32);
  for (uint32_t sample = 0; sample < 8; ++sample) {
    SeededDraws draws(key(sample));
    const Degraded pair = degrade(gt, {.kind = "second_order"}, draws);
    ASSERT_EQ(pair.lq.shape(), gt.shape());
    for (int64_t i = 0; i < gt.numel(); ++i) {
      const float level = pair.lq.data<float>()[i] * 255;
      ASSERT_NEAR(level, std::round(level), 1e-4);
      ASSERT_TRUE(level >= 0 && level <= 255);
    }
    EXPECT_GT(test::relative_l2(pair.gt, gt), 0) << "the target is sharpened";
  }
}

TEST(SecondOrder, WithoutTheWayBackTheResultIsSmall) {
  SeededDraws draws(key(0));
  Recipe recipe{.kind = "second_order"};
  recipe.second_order.resize_back = false;
  EXPECT_EQ(degrade(test::uniform({72, 80, 3}, 1, 0, 1, DType::f32), recipe, draws).lq.shape(), Shape({18, 20, 3}));
}

// What the reference draws once for a batch is the same for all its pictures; a batch of one is the picture alone.
TEST(SecondOrder, ABatchSharesItsSizesAndABatchOfOneIsThePicture) {
  const Tensor gt = test::uniform({3, 64, 56, 3}, 2, 0, 1, DType::f32);
  const Recipe recipe{.kind = "second_order"};
  SeededDraws draws(key(4));
  const Degraded pair = degrade(gt, recipe, draws);
  EXPECT_EQ(pair.lq.shape(), gt.shape());
  const auto qualities = std::ranges::count(names_of(draws.record()), std::string("jpeg1.quality"));
  EXPECT_EQ(qualities, 3);
  EXPECT_EQ(std::ranges::count(names_of(draws.record()), std::string("resize1.mode")), 1);

  const Tensor one = test::uniform({1, 64, 56, 3}, 3, 0, 1, DType::f32);
  SeededDraws as_batch_of_one(key(5)), alone(key(5));
  const Tensor a = degrade(one, recipe, as_batch_of_one).lq, b = degrade(one.reshape({64, 56, 3}), recipe, alone).lq;
  EXPECT_EQ(test::relative_l2(a.reshape(b.shape()), b), 0);
}

TEST(SecondOrder, RefusesWhatCannotBe) {
  SeededDraws draws(key(0));
  EXPECT_HAS(test::input_error([&] {
               degrade(Tensor::zeros({3, 3, 3}), {.kind = "second_order"}, draws);
             }),
             "use larger crops");
  for (const char* wrong : {"stage2_scale: [4, 2]", "round: {resize_prob: [1, 1]}", "round: {resize_range: [2, 3]}",
                            "blur: {kernel_list: [box]}", "blur2: {betag_range: [2, 3]}", "final_sinc_prob: 2"})
    EXPECT_THROW(read_config_text<SecondOrderRecipe>(wrong, "r.yaml"), InputError) << wrong;
}

}  // namespace
}  // namespace relume
