#include "degrade/shuffled.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "degrade/recipe.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

RandomKey key(uint32_t sample) { return {.seed = 7, .purpose = "shuffled", .sample = sample}; }

std::vector<std::string> order_of(const DrawRecord& record) {
  std::vector<std::string> order;
  for (const auto& entry : record.entries)
    if (entry.name == "order") order.push_back(std::get<std::string>(entry.value));
  return order;
}

TEST(Shuffled, EveryOrderComesAndTheDownsamplingsKeepTheirs) {
  std::map<std::string, int> first;
  for (uint32_t sample = 0; sample < 600; ++sample) {
    SeededDraws draws(key(sample));
    const std::vector<Step> steps = draw_shuffled({}, 64, 64, draws);
    const std::vector<std::string> order = order_of(draws.record());
    ASSERT_EQ(order.size(), 6u);
    ++first[order[0]];
    // The last size before the way back is exactly a quarter, whatever was drawn first.
    int64_t height = 0;
    for (size_t i = 0; i + 2 < steps.size(); ++i)
      if (const auto* resize = std::get_if<ResizeStep>(&steps[i]); resize && i + 4 < steps.size()) height = resize->height;
    ASSERT_EQ(height, 16) << sample;
    ASSERT_TRUE(std::holds_alternative<LevelsStep>(steps.back()));
  }
  for (const auto& [name, count] : first) EXPECT_NEAR(count, 100, 45) << name;
  EXPECT_EQ(first.size(), 6u);
}

TEST(Shuffled, TheShiftedGaussianSamplesCellMiddles) {
  // A ramp, decimated by 4 after the shifted blur, has the values at the middle of each cell: 1.5, 5.5, ...
  const int64_t n = 96;
  Tensor ramp = Tensor::empty({n, n, 3});
  for (int64_t i = 0; i < ramp.numel(); ++i) ramp.data<float>()[i] = float(i / 3 % n) / 255;
  for (uint32_t sample = 0; sample < 200; ++sample) {
    SeededDraws draws(key(sample));
    const std::vector<Step> steps = draw_shuffled({.halve_prob = 0, .resize_prob = 0}, n, n, draws);
    const auto at = std::ranges::find_if(steps, [](const Step& s) { return std::holds_alternative<DecimateStep>(s); });
    ASSERT_NE(at, steps.end());
    const Tensor small = apply_step(*at, apply_step(*(at - 1), ramp));
    ASSERT_EQ(small.shape(), Shape({24, 24, 3}));
    for (int64_t x = 5; x < 18; ++x)
      ASSERT_NEAR(small.data<float>()[(12 * 24 + x) * 3] * 255, 4 * double(x) + 1.5, 2e-3) << label(*(at - 1));
  }
}

TEST(Shuffled, GivesThePicturesSizeOrAQuarter) {
  const Tensor gt = test::uniform({66, 75, 3}, 1, 0, 1, DType::f32);
  for (uint32_t sample = 0; sample < 12; ++sample) {
    SeededDraws draws(key(sample)), again(key(sample));
    Recipe recipe{.kind = "shuffled"};
    EXPECT_EQ(degrade(gt, recipe, draws).lq.shape(), gt.shape());
    recipe.shuffled.resize_back = false;
    EXPECT_EQ(degrade(gt, recipe, again).lq.shape(), Shape({16, 18, 3}));
  }
  SeededDraws draws(key(0));
  EXPECT_HAS(test::input_error([&] { degrade(Tensor::zeros({3, 3, 3}), {.kind = "shuffled"}, draws); }), "use larger crops");
}

}  // namespace
}  // namespace relume
