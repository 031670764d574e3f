#include <gtest/gtest.h>

#include "autograd/elementwise.h"
#include "models/diffusion/linear_combination.h"
#include "models/diffusion/restoration_guidance.h"
#include "models/diffusion/spaced.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

const Shape pictures{2, 4, 6, 3};

TEST(RegionWeights, AreOneWhereItIsFlatAndFallAtEdges) {
  const Tensor picture = Tensor::full({1, 4, 8, 3}, -1);
  for (int64_t i = 0; i < picture.numel(); ++i)
    if (i / 3 % 8 >= 4) picture.data<float>()[i] = 1;  // the right half is white
  const Tensor weights = region_weights(picture);
  ASSERT_EQ(weights.shape(), (Shape{1, 4, 8, 1}));
  const float* const w = weights.data<float>();
  for (const int64_t x : {0, 1, 6, 7}) EXPECT_EQ(w[x], 1) << x;
  for (const int64_t x : {2, 3, 4, 5}) EXPECT_LT(w[x], 0.001) << x;
  EXPECT_HAS(input_error([] { region_weights(Tensor::zeros({1, 3, 4, 3})); }), "even H and W");
}

TEST(GuidanceMove, GoesDownTheLoss) {
  const Tensor y = uniform(pictures, 1), target = uniform(pictures, 2), weights = uniform(pictures, 3, 0, 1);
  for (const Tensor& w : {Tensor(), weights}) {
    const GuidanceMove move = guidance_move(y, target, w, 10);
    double loss = 0, largest = 0;
    for (int64_t i = 0; i < y.numel(); ++i) {
      const double error = double(y.data<float>()[i]) - target.data<float>()[i], weight = w ? w.data<float>()[i] : 1;
      loss += weight * error * error / 72;  // elements of a sample
      largest = std::max(largest, std::abs(move.delta.data<float>()[i] + 10 * 2 * weight * error / 72));
    }
    EXPECT_NEAR(move.loss.item(), loss, 1e-5 * loss);
    EXPECT_LT(largest, 1e-6);
  }
}

TEST(RestorationGuidance, MovesTheMeanOfTheNextLatentsByTheDelta) {
  const Tensor x0 = uniform(pictures, 1), target = uniform(pictures, 2);
  RestorationGuidance guidance([&](int64_t) { return target; }, {.scale = 0.01, .region_adaptive = false});
  const GuidanceMove move = guidance_move(x0, target, {}, 30);
  const Tensor moved = guidance(x0, {.time = 500, .x0_weight = 0.25});
  EXPECT_LT(relative_l2(moved, linear_combination({{1, x0}, {4, move.delta}})), 1e-6);
  EXPECT_NEAR(guidance.loss().item(), move.loss.item(), 1e-6);
}

TEST(RestorationGuidance, TakesTheGradientThroughTheDecoder) {
  const Tensor x0 = uniform(pictures, 1), target = uniform(pictures, 2);
  const LatentDecoder decoder = [](const Tensor& z) { return mul(z, z); };
  for (const bool regions : {false, true}) {
    RestorationGuidance guidance(target, decoder, {.scale = 0.01, .region_adaptive = regions});
    const Tensor weights = regions ? repeat_channel(region_weights(target), 3) : Tensor();
    const Tensor delta = guidance_move(mul(x0, x0), target, weights, 30).delta;
    const Tensor expected = linear_combination({{1, x0}, {2, mul(x0, delta)}});
    EXPECT_LT(relative_l2(guidance(x0, {.time = 500}), expected), 1e-6);
  }
}

TEST(RestorationGuidance, ActsInsideItsWindowAsOftenAsAsked) {
  const Tensor x = uniform(pictures, 1), target = uniform(pictures, 2);
  std::vector<int64_t> applications;
  RestorationGuidance guidance(
      [&](int64_t application) {
        applications.push_back(application);
        return target;
      },
      {.scale = 0.01, .start = 800, .stop = 200, .repeat = 2, .region_adaptive = false});
  std::vector<double> active;
  const X0Hook hook = [&](const Tensor& x0, const SampleStep& step) {
    if (guidance.active(step.time)) active.push_back(step.time);
    return guidance(x0, step);
  };
  const DiffusionModel model{.prediction = Prediction::v, .denoiser = [](const Tensor& z, double) { return z; }};
  sample_spaced(model, 6, x, {.noise = [&](int64_t) { return target; }, .hook = hook});
  EXPECT_EQ(active, (std::vector<double>{599, 400, 200}));
  EXPECT_EQ(applications, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(RestorationGuidance, LeavesX0AloneOutsideOfItsWindowAndAtScaleZero) {
  const Tensor x0 = uniform(pictures, 1), target = uniform(pictures, 2);
  const LatentTarget of = [&](int64_t) { return target; };
  EXPECT_TRUE(
      RestorationGuidance(of, {.scale = 1, .start = 500, .region_adaptive = false})(x0, {.time = 499}).same_storage(x0));
  EXPECT_TRUE(RestorationGuidance(of, {.scale = 0, .region_adaptive = false})(x0, {.time = 499}).same_storage(x0));
}

TEST(RestorationGuidance, RefusesWhatCannotWork) {
  const Tensor x0 = uniform(pictures, 1);
  EXPECT_HAS(input_error([&] { RestorationGuidance([&](int64_t) { return x0; }, RestorationGuidanceOptions{}); }),
             "latent space");
  RestorationGuidance guidance(x0, [](const Tensor& z) { return z; }, {.scale = 1});
  const NoGrad no_grad;
  EXPECT_HAS(input_error([&] { guidance(x0, {.time = 5}); }), "gradients are switched off");
}

}  // namespace
}  // namespace relume::test
