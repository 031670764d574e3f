#include "infer/stage_two.h"

#include <gtest/gtest.h>

#include <vector>

#include "data/resize.h"
#include "models/diffusion/noise.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"
#include "tests/support/threads.h"

namespace relume::test {
namespace {

class StageTwoTest : public testing::Test {
 protected:
  StageTwoNoise noise(const Shape& shape) const {
    return {.start = standard_normal(shape, DType::f32, {}, {.seed = 1, .purpose = "start"}),
            .augmentation = standard_normal(shape, DType::f32, {}, {.seed = 1, .purpose = "augmentation"}),
            .steps = seeded_noise(shape, DType::f32, {}, 2)};
  }
  Tensor sampled(const StageTwoOptions& options) const {
    const NoGrad no_grad;
    const StageTwo stage(*networks_, options);
    const Tensor condition = stage.condition(picture_);
    return stage.sample(condition, networks_->texts(states_), noise(stage.start_shape(condition)));
  }
  static StageTwoOptions short_course() { return {.sampler = {.name = "spaced", .steps = 3}, .guidance = {.scale = 4}}; }

  const std::unique_ptr<ControlLdm> networks_ = small_control_ldm();
  const Tensor states_ = [] {
    const NoGrad no_grad;
    return (*small_text_encoder())(Tensor::of<int64_t>({2, 5}, {48, 3, 17, 49, 0, 48, 5, 49, 0, 0}));
  }();
  const Tensor picture_ = uniform({1, 100, 70, 3}, 5, 0, 1);
};

TEST_F(StageTwoTest, PicturesArePaddedWithBlack) {
  const StageTwo whole(*networks_, short_course());
  StageTwoOptions in_tiles = short_course();
  in_tiles.tile = 8, in_tiles.tile_stride = 4;
  const StageTwo tiled(*networks_, in_tiles);
  EXPECT_EQ(whole.condition(picture_).shape(), Shape({1, 16, 16, 4}));
  EXPECT_EQ(tiled.condition(picture_).shape(), Shape({1, 13, 9, 4}));
  EXPECT_EQ(tiled.start_shape(tiled.condition(picture_)), Shape({1, 13, 9, 4}));
  const Tensor black = pad_to_multiple(picture_, 64);
  EXPECT_TRUE(same_bits(whole.condition(picture_), whole.condition(black)));
}

TEST_F(StageTwoTest, TheConditionTheTextAndEveryOptionMatter) {
  const Tensor plain = sampled(short_course());
  EXPECT_TRUE(same_bits(sampled(short_course()), plain));
  const auto changed = [&](const char* what, auto&& change) {
    StageTwoOptions o = short_course();
    change(o);
    EXPECT_GT(relative_l2(sampled(o), plain), 1e-4) << what;
  };
  changed("guidance", [](StageTwoOptions& o) { o.guidance.scale = 1; });
  changed("strength", [](StageTwoOptions& o) { o.strength = 0.5; });
  changed("start", [](StageTwoOptions& o) { o.start_from_condition = true; });
  changed("augmentation", [](StageTwoOptions& o) { o.noise_augmentation = 100; });
  changed("prediction", [](StageTwoOptions& o) { o.prediction = Prediction::v; });
  changed("sampler", [](StageTwoOptions& o) { o.sampler.name = "ddim", o.sampler.steps = 4; });
}

// One tile that is the whole gives the whole; smaller ones are blended, and each sees its part of the condition.
TEST_F(StageTwoTest, TilesOfTheWholeAreTheWhole) {
  StageTwoOptions o = short_course();
  const Tensor whole = sampled(o);
  const Tensor square = pad_to_multiple(picture_, 64);  // 128 x 128
  const auto of_square = [&](int64_t tile, int64_t stride) {
    const NoGrad no_grad;
    StageTwoOptions in_tiles = short_course();
    in_tiles.tile = tile, in_tiles.tile_stride = stride;
    const StageTwo stage(*networks_, in_tiles);
    return stage.sample(stage.condition(square), networks_->texts(states_), noise({1, 16, 16, 4}));
  };
  EXPECT_LE(relative_l2(of_square(16, 16), whole), 1e-5);
  EXPECT_GT(relative_l2(of_square(8, 4), whole), 1e-4);
}

// Maps of two pictures may be convolved in another way than those of one: equal to the precision of the numbers.
TEST_F(StageTwoTest, PicturesOfABatchAreThoseOnTheirOwn) {
  const NoGrad no_grad;
  StageTwoOptions o = short_course();
  o.sampler.name = "ddim", o.sampler.steps = 4, o.sampler.eta = 0;  // draws nothing but the start
  const StageTwo stage(*networks_, o);
  const auto pair = [](const Tensor& first, const Tensor& second) {
    const Tensor both = Tensor::empty(first.shape().with(0, 2));
    both.slice(0, 1).copy_from(first), both.slice(1, 2).copy_from(second);
    return both;
  };
  const Tensor pictures[] = {picture_, uniform({1, 100, 70, 3}, 6, 0, 1)};
  const Tensor states = Tensor::empty({4, states_.shape(1), states_.shape(2)});  // the wanted ones of both, then the unwanted
  for (int64_t row = 0; row < 4; ++row) states.slice(row, row + 1).copy_from(states_.slice(row / 2, row / 2 + 1));
  const Shape one{1, 16, 16, 4};
  const auto start = [&](uint64_t seed) { return standard_normal(one, DType::f32, {}, {.seed = seed, .purpose = "start"}); };
  const auto course = [&](const Tensor& picture, const Tensor& texts, const Tensor& from) {
    const Tensor condition = stage.condition(picture);
    return stage.decode(stage.sample(condition, networks_->texts(texts), {.start = from}));
  };
  const Tensor both = course(pair(pictures[0], pictures[1]), states, pair(start(1), start(2)));
  for (int64_t i = 0; i < 2; ++i)
    EXPECT_LE(relative_l2(both.slice(i, i + 1), course(pictures[i], states_, start(uint64_t(i) + 1))), 1e-5) << i;
}

TEST_F(StageTwoTest, OneThreadComputesWhatManyDo) {
  const StageTwo stage(*networks_, short_course());
  expect_same_on_any_threads([&] { return stage.decode(sampled(short_course())); });
}

TEST_F(StageTwoTest, CallsCanBeWatchedAndEstimatesChanged) {
  const NoGrad no_grad;
  StageTwo stage(*networks_, short_course());
  std::vector<double> times;
  stage.set_watch([&](const StageTwo::Predict& predict, const Tensor& x, double t, const Tensor& condition, Texts texts) {
    EXPECT_EQ(texts, Texts::both);
    EXPECT_EQ(x.shape(), Shape({2, 16, 16, 4}));
    EXPECT_EQ(condition.shape(), Shape({1, 16, 16, 4}));
    times.push_back(t);
    return predict(x, t, condition, texts);
  });
  const Tensor condition = stage.condition(picture_);
  const X0Hook hook = [](const Tensor& x0, const SampleStep& step) {
    return step.index + 1 == step.count ? Tensor::full(x0.shape(), 0.25) : x0;
  };
  const Tensor z = stage.sample(condition, networks_->texts(states_), noise(condition.shape()), hook);
  EXPECT_EQ(times, (std::vector<double>{999, 500, 0}));
  for (int64_t i = 0; i < z.numel(); ++i) ASSERT_NEAR(z.data<float>()[i], 0.25, 1e-6);
}

TEST_F(StageTwoTest, PicturesAreDecodedToTheirRange) {
  const NoGrad no_grad;
  const StageTwo stage(*networks_, short_course());
  const Tensor latents = uniform({1, 2, 3, 4}, 6), picture = stage.decode(latents), exact = networks_->decode(latents);
  EXPECT_EQ(picture.shape(), Shape({1, 16, 24, 3}));
  for (int64_t i = 0; i < picture.numel(); ++i) ASSERT_NEAR(picture.data<float>()[i], (exact.data<float>()[i] + 1) / 2, 1e-5);
  const Tensor part = cropped(picture, 5, 7);
  EXPECT_EQ(part.shape(), Shape({1, 5, 7, 3}));
  EXPECT_EQ(part.data<float>()[7 * 3], picture.data<float>()[24 * 3]);
}

TEST_F(StageTwoTest, TheAutoencoderInTheReferencesTiles) {
  const NoGrad no_grad;
  StageTwoOptions o = short_course();
  o.encoder_tile = 32, o.decoder_tile = 8;
  const StageTwo stage(*networks_, o);
  const Tensor padded = channel_affine(pad_to_multiple(picture_, 8), {2, 2, 2}, {-1, -1, -1});
  EXPECT_TRUE(same_bits(stage.condition(picture_), networks_->encode(padded, 32)));
  const Tensor latents = uniform({1, 34, 27, 4}, 6), decoded = networks_->decode(latents, 8);
  EXPECT_TRUE(same_bits(stage.decode(latents), channel_affine(decoded, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5})));
}

TEST_F(StageTwoTest, WrongOptionsAreRefused) {
  const auto message = [&](auto&& change) {
    StageTwoOptions o = short_course();
    change(o);
    return input_error([&] { StageTwo(*networks_, o); });
  };
  EXPECT_HAS(message([](StageTwoOptions& o) { o.sampler.name = "plms"; }), "plms");
  EXPECT_HAS(message([](StageTwoOptions& o) { o.tile = 12, o.tile_stride = 4; }), "multiple of 8");
  EXPECT_HAS(message([](StageTwoOptions& o) { o.tile = 8, o.tile_stride = 9; }), "tile to tile");
  EXPECT_HAS(message([](StageTwoOptions& o) { o.noise_augmentation = 1000; }), "0 to 999");
  const StageTwo stage(*networks_, short_course());
  const Tensor condition = stage.condition(picture_);
  EXPECT_HAS(input_error([&] { stage.sample(condition, networks_->texts(states_), noise({1, 8, 8, 4})); }), "start");
}

}  // namespace
}  // namespace relume::test
