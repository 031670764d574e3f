#include "infer/refiner.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/files.h"
#include "infer/colour_fix.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

class RefinerTest : public testing::Test {
 protected:
  void SetUp() override { save_small_restorer(file()); }
  std::filesystem::path file() const { return folder_ / "full.safetensors"; }
  static StageTwoConfig config() {
    StageTwoConfig c;
    c.networks = small_published_config();
    c.sampler = "spaced", c.steps = 3, c.cfg_scale = 1;
    return c;
  }
  Refiner refiner(const StageTwoConfig& c) const { return {c, ControlLdmSource({file(), {}}), {PromptPair{}}, {}}; }
  Tensor refined(const StageTwoConfig& c, uint64_t seed = 1, uint32_t sample = 0) const {
    return refiner(c)(picture_, {}, seed, sample);
  }
  static Tensor low(const Tensor& picture) { return wavelet_low(picture.reshape({1, picture.shape(0), picture.shape(1), 3})); }

  const TemporaryFolder folder_;
  const Tensor picture_ = uniform({70, 90, 3}, 5, 0, 1);
};

TEST_F(RefinerTest, AResultFollowsFromPictureSeedAndSampleAlone) {
  const Refiner all = refiner(config());
  const Tensor plain = all(picture_, {}, 1, 0);
  EXPECT_EQ(plain.shape(), picture_.shape());
  all(uniform({64, 64, 3}, 6, 0, 1), {}, 1, 0);
  EXPECT_TRUE(same_bits(all(picture_, {}, 1, 0), plain));
  EXPECT_TRUE(same_bits(refined(config()), plain));
  EXPECT_GT(relative_l2(all(picture_, {}, 2, 0), plain), 1e-3);
  EXPECT_GT(relative_l2(all(picture_, {}, 1, 1), plain), 1e-3);
}

TEST_F(RefinerTest, ColoursAreThoseOfStageOne) {
  StageTwoConfig c = config();
  EXPECT_LE(relative_l2(low(refined(c)), low(picture_)), 0.05);
  c.color_fix = "none";
  const Tensor plain = refined(c);
  EXPECT_GT(relative_l2(low(plain), low(picture_)), 0.1);
  c.color_fix = "adain";
  EXPECT_GT(relative_l2(refined(c), plain), 1e-3);
}

// Guidance in the last step draws the result to stage one's picture; before its time it does nothing.
TEST_F(RefinerTest, GuidanceDrawsToStageOne) {
  StageTwoConfig c = config();
  c.color_fix = "none";
  const Tensor square = uniform({64, 64, 3}, 6, 0, 1);  // without padding, which guidance sees too
  const auto guided_by = [&](const StageTwoConfig& config) { return refiner(config)(square, {}, 1, 0); };
  const Tensor plain = guided_by(c);
  c.guidance.loss = "mse", c.guidance.scale = 2, c.guidance.start = 2;
  const Tensor guided = guided_by(c);
  EXPECT_LT(relative_l2(guided, square), 0.999 * relative_l2(plain, square));
  EXPECT_TRUE(same_bits(guided_by(c), guided));
  c.guidance.space = "latent", c.guidance.scale = 0.02;
  EXPECT_GT(relative_l2(guided_by(c), guided), 1e-3);
  c.guidance.start = -1;
  EXPECT_TRUE(same_bits(guided_by(c), plain));
}

TEST_F(RefinerTest, ACourseCanBeWatched) {
  std::vector<int64_t> steps, shown;
  int conditions = 0;
  RefineWatch watch{.progress = [&](int64_t step, int64_t of) { steps.push_back(step * 10 + of); },
                    .estimate =
                        [&](int64_t step, const Tensor& x) {
                          EXPECT_EQ(x.shape(), Shape({1, 70, 90, 3}));
                          shown.push_back(step);
                        },
                    .every = 2,
                    .condition =
                        [&](const Tensor& x) {
                          conditions += x.shape() == Shape({1, 70, 90, 3});
                        }};
  refiner(config())(picture_, {}, 1, 0, watch);
  EXPECT_EQ(steps, (std::vector<int64_t>{13, 23, 33}));
  EXPECT_EQ(shown, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(conditions, 1);
}

// spaced sampling ends with its last estimate.
TEST_F(RefinerTest, TheLastEstimateIsNotDecodedAgain) {
  StageTwoConfig c = config();
  c.color_fix = "none";
  Tensor last;
  const RefineWatch watch{.estimate = [&](int64_t, const Tensor& x) { last = x; }, .every = 3};
  const Tensor result = refiner(c)(picture_, {}, 1, 0, watch);
  EXPECT_EQ(result.data<float>(), last.data<float>());
  EXPECT_TRUE(same_bits(result, refined(c)));
}

TEST_F(RefinerTest, NoNumbersAreAnErrorAndNotABlackPicture) {
  const auto broken = [&](const char* part) {
    const auto whole = std::make_shared<SafetensorsFile>(file());
    MemorySource all("broken");
    for (const TensorInfo& t : whole->tensors()) {
      const bool hit = t.name == part;
      all.add(t.name, hit ? Tensor::full(t.shape, std::numeric_limits<double>::quiet_NaN()) : whole->read(t.name));
    }
    write_safetensors(folder_ / "broken.safetensors", all);
    const Refiner r(config(), ControlLdmSource({folder_ / "broken.safetensors", {}}), {PromptPair{}}, {});
    try {
      r(picture_, {}, 1, 0);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const std::string encoder = broken("first_stage_model.encoder.conv_in.bias"),
                    unet = broken("model.diffusion_model.input_blocks.1.0.in_layers.2.bias"),
                    control = broken("control_model.middle_block.1.proj_in.bias"),
                    decoder = broken("first_stage_model.decoder.conv_out.bias");
  EXPECT_HAS(encoder, "the latents of the cleaned picture hold values that are no numbers");
  EXPECT_HAS(encoder, "the first: values that are no numbers\n  in encoder.conv_in");
  EXPECT_HAS(unet, "in step 1 of 3 (time 999) the expected latents hold values");
  EXPECT_HAS(unet, "\n  in input_blocks.1.0.in_layers.2");
  EXPECT_HAS(unet, "\n  in the U-Net");
  EXPECT_HAS(control, "\n  in middle_block.1.proj_in");
  EXPECT_HAS(control, "\n  in the control network");
  EXPECT_HAS(decoder, "the pixels that the decoder makes hold values");
  EXPECT_HAS(decoder, "\n  in decoder.conv_out");
}

TEST_F(RefinerTest, WrongRequestsAreRefused) {
  EXPECT_HAS(input_error([&] { refiner(config())(picture_, {"a dog", ""}, 1, 0); }), "'a dog' was not named");
  EXPECT_HAS(input_error([&] {
               Refiner(config(), ControlLdmSource({file(), {}}), {{"a dog", ""}}, folder_ / "merges.gz");
             }),
             "merges.gz");
  const auto refused = [](auto&& change) {
    StageTwoConfig c = config();
    change(c);
    return input_error([&] { c.validate(); });
  };
  EXPECT_HAS(refused([](StageTwoConfig& c) { c.diffusion.zero_snr = true; }), "parameterization v");
  EXPECT_HAS(refused([](StageTwoConfig& c) { c.cldm_tile_size = 100; }), "multiple of 64");
  EXPECT_HAS(refused([](StageTwoConfig& c) { c.guidance.loss = "w_mse", c.guidance.space = "latent"; }), "space rgb");
  EXPECT_HAS(refused([](StageTwoConfig& c) { c.sampler = "plms"; }), "plms");
}

}  // namespace
}  // namespace relume::test
