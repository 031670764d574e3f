#include "degrade/recipe.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

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
    const Degraded pair = degrade_wide(gt, {}, draws);
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

TEST(WideRecipe, SameKeySamePixelsOnAnyThreadAndByReplay) {
  const Tensor gt = picture(64, 64);
  const int samples = 16;
  std::vector<Tensor> serial, threaded(samples), replayed;
  for (uint32_t i = 0; i < samples; ++i) {
    SeededDraws draws(key(i));
    serial.push_back(degrade_wide(gt, {}, draws).lq);
    ReplayedDraws replay(draws.record());
    replayed.push_back(degrade_wide(gt, {}, replay).lq);
    EXPECT_EQ(replay.remaining(), 0u);
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = samples - 1 - t; i >= 0; i -= 4) {
        SeededDraws draws(key(uint32_t(i)));
        threaded[size_t(i)] = degrade_wide(gt, {}, draws).lq;
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < samples; ++i) EXPECT_TRUE(equal(serial[i], threaded[i]) && equal(serial[i], replayed[i])) << i;
  EXPECT_FALSE(equal(serial[0], serial[1]));
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
  const WideDraw draw = draw_wide(demo, 33, 47, draws);
  EXPECT_EQ(draw.small_height, 33);
  EXPECT_EQ(draw.small_width, 47);
  const Tensor x = picture(33, 47);
  EXPECT_TRUE(apply(WideStage::downsample, x, draw).same_storage(x));
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
  EXPECT_THROW(degrade_wide(picture(4, 4), {.downsample_range = {8, 12}}, draws), InputError);
  EXPECT_THROW(degrade_wide(Tensor::empty({4, 4, 1}), {}, draws), InputError);
}

}  // namespace
}  // namespace relume
