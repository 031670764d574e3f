// The wide recipe, and what all recipes promise: results that depend on the draws alone.
#include "degrade/recipe.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

Tensor picture(int64_t height, int64_t width) {
  Tensor t = Tensor::empty({height, width, 3});
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = float(0.5 + 0.5 * std::sin(0.013 * double(i)));
  return t;
}
RandomKey key(uint32_t sample) { return {.seed = 11, .purpose = "degrade", .step = 0, .sample = sample}; }
bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data<float>(), a.data<float>() + a.numel(), b.data<float>());
}

TEST(WideRecipe, GivesAPictureOfTheSameSizeInRange) {
  const Tensor gt = picture(70, 97);
  for (uint32_t sample = 0; sample < 12; ++sample) {
    SeededDraws draws(key(sample));
    const Degraded pair = degrade(gt, {}, draws);
    ASSERT_EQ(pair.lq.shape(), gt.shape());
    EXPECT_TRUE(equal(pair.gt, gt));
    for (int64_t i = 0; i < gt.numel(); ++i) ASSERT_TRUE(pair.lq.data<float>()[i] >= 0 && pair.lq.data<float>()[i] <= 1);
  }
}

TEST(WideRecipe, DrawsInTheOrderOfTheReference) {
  SeededDraws draws(key(0));
  WideRecipe recipe{.kernel_list = {"aniso"}, .kernel_prob = {1}};
  draw_wide(recipe, 64, 64, draws);
  std::vector<std::string> names;
  for (const auto& entry : draws.record().entries) names.push_back(entry.name);
  EXPECT_EQ(names, (std::vector<std::string>{"blur.kernel", "blur.sigma_x", "blur.sigma_y", "blur.theta", "downsample",
                                             "noise.sigma", "noise.grey", "noise.field", "jpeg.quality"}));
}

class EveryRecipe : public testing::TestWithParam<const char*> {
 protected:
  const Recipe recipe_{.kind = GetParam()};
};

TEST_P(EveryRecipe, SameKeySamePixelsOnAnyThreadAndByReplay) {
  const Tensor gt = picture(96, 104);
  const int samples = 12;
  std::vector<Tensor> serial, threaded(samples), replayed;
  for (uint32_t i = 0; i < samples; ++i) {
    SeededDraws draws(key(i));
    serial.push_back(degrade(gt, recipe_, draws).lq);
    ReplayedDraws replay(draws.record());
    replayed.push_back(degrade(gt, recipe_, replay).lq);
    replay.finish();
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = samples - 1 - t; i >= 0; i -= 4) {
        SeededDraws draws(key(uint32_t(i)));
        threaded[size_t(i)] = degrade(gt, recipe_, draws).lq;
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < samples; ++i) EXPECT_TRUE(equal(serial[i], threaded[i]) && equal(serial[i], replayed[i])) << i;
  EXPECT_FALSE(equal(serial[0], serial[1]));
}

TEST_P(EveryRecipe, StepsOneByOneAreTheWhole) {
  const Tensor gt = picture(80, 72);
  SeededDraws draws(key(1));
  const Degradation degradation = draw_degradation(recipe_, 1, 80, 72, draws);
  const Degraded whole = apply_degradation(degradation, gt);
  Tensor x = whole.gt;
  for (const Step& step : degradation.steps) {
    EXPECT_FALSE(label(step).empty());
    x = apply_step(step, x);
  }
  ASSERT_EQ(x.shape(), gt.shape());
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i)
    worst = std::max(worst, std::abs(double(x.data<float>()[i]) - whole.lq.data<float>()[i]));
  EXPECT_LE(worst, 1e-6);
}

TEST_P(EveryRecipe, ABatchWithDrawsOfItsOwnIsItsPictures) {
  const Tensor batch = test::uniform({3, 64, 72, 3}, 5, 0, 1, DType::f32);
  SeededDraws a(key(0)), b(key(1)), c(key(2));
  Draws* const draws[] = {&a, &b, &c};
  const Degraded together = degrade(batch, recipe_, draws);
  for (uint32_t n = 0; n < 3; ++n) {
    SeededDraws alone(key(n));
    const Degraded one = degrade(batch.slice(n, n + 1), recipe_, alone);
    EXPECT_TRUE(equal(together.lq.slice(n, n + 1), one.lq) && equal(together.gt.slice(n, n + 1), one.gt)) << n;
  }
  EXPECT_HAS(test::input_error([&] { degrade(batch, recipe_, std::span(draws).first(2)); }), "one to each picture");
}

TEST_P(EveryRecipe, AnotherRecipesRecordIsRefused) {
  const Recipe other{.kind = recipe_.kind == "wide" ? "second_order" : "wide"};
  SeededDraws draws(key(2));
  draw_degradation(other, 1, 64, 64, draws);
  ReplayedDraws replay(draws.record());
  EXPECT_HAS(test::input_error([&] { draw_degradation(recipe_, 1, 64, 64, replay); }), "recipe it was made by");
}

INSTANTIATE_TEST_SUITE_P(Recipes, EveryRecipe, testing::Values("wide", "second_order", "shuffled"),
                         [](const auto& recipe) { return std::string(recipe.param); });

TEST(WideRecipe, SimulatedJpegIsLikeTheRealOne) {
  const Tensor gt = picture(128, 128);
  WideRecipe recipe{.downsample_range = {1, 1}, .noise_range = {0, 0}, .jpeg_range = {60, 60}};
  Tensor result[2];
  for (const bool real : {false, true}) {
    recipe.real_jpeg = real;
    SeededDraws draws(key(0));
    result[real] = degrade(gt, {.wide = recipe}, draws).lq;
  }
  EXPECT_FALSE(equal(result[0], result[1]));
  EXPECT_LT(test::relative_l2(result[0], result[1]), 0.1) << "transposed luma table, other chroma upsampling";
}

TEST(WideRecipe, AKeptSizeIsNotResized) {
  const WideRecipe demo{.blur_kernel_size = 11,
                        .kernel_list = {"iso"},
                        .kernel_prob = {1},
                        .blur_sigma = {0.2, 1},
                        .downsample_range = {1, 1},
                        .noise_range = {10, 40},
                        .jpeg_range = {60, 95}};
  demo.validate();
  SeededDraws draws(key(0));
  const std::vector<Step> steps = draw_wide(demo, 33, 47, draws);
  const Tensor x = picture(33, 47);
  EXPECT_TRUE(apply_step(steps.at(1), x).same_storage(x)) << label(steps.at(1));
}

TEST(WideRecipe, ReadsItsConfiguration) {
  const WideRecipe r = read_config_text<WideRecipe>("kernel_list: [aniso]\nkernel_prob: [1]\nblur_sigma: [1, 2]\n", "r.yaml");
  EXPECT_EQ(r.kernel_list, std::vector<std::string>{"aniso"});
  EXPECT_EQ(r.blur_sigma[1], 2);
  for (const char* wrong : {"blur_kernel_size: 4", "kernel_list: [iso]", "kernel_list: [gauss, iso]", "blur_sigma: [2, 1]",
                            "blur_sigma: [0, 1]", "noise_range: [0, 300]", "jpeg_range: [0, 10]", "betag_range: [2, 4]",
                            "downsample_range: [0, 2]", "kernel_prob: [0, 0]", "jpeg: [1, 2]"})
    EXPECT_THROW(read_config_text<WideRecipe>(wrong, "r.yaml"), InputError) << wrong;
}

TEST(WideRecipe, RefusesPicturesThatWouldVanish) {
  SeededDraws draws(key(0));
  EXPECT_THROW(degrade(picture(4, 4), {.wide = {.downsample_range = {8, 12}}}, draws), InputError);
  EXPECT_THROW(degrade(Tensor::empty({4, 4, 1}), {}, draws), InputError);
}

}  // namespace
}  // namespace relume
