#include "models/diffusion/sampler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/graph.h"
#include "models/diffusion/classifier_free.h"
#include "models/diffusion/ddim.h"
#include "models/diffusion/dpm_solver.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/linear_combination.h"
#include "models/diffusion/spaced.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

const Shape latents{2, 3, 2, 4};

DiffusionModel model_of(Prediction prediction, bool zero_terminal_snr = false) {
  return {.schedule = NoiseSchedule({.zero_terminal_snr = zero_terminal_snr}),
          .prediction = prediction,
          .denoiser = [](const Tensor& x, double t) {
            return linear_combination({{0.3 + t / 2000, x}});
          }};
}

// All families, on a model of v with noise of the seed.
std::vector<Tensor> sample_all(const Tensor& x, const Sampling& sampling) {
  const DiffusionModel model = model_of(Prediction::v);
  std::vector<Tensor> results{sample_spaced(model, 5, x, sampling), sample_ddim(model, 5, 0.7, x, sampling),
                              sample_dpm(model, 5, {}, x, sampling)};
  for (const char* solver : {"euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "lms", "dpm++_2s_a", "dpm++_sde", "dpm++_2m",
                             "dpm++_2m_sde", "dpm++_3m_sde"})
    results.push_back(sample_edm(model, 5, {.solver = edm_solver_named(solver), .s_churn = 1, .order = 2}, x, sampling));
  return results;
}

TEST(Samplers, ASampleIsTheSameAloneAndInABatch) {
  const NoiseSource both = seeded_noise(latents, DType::f32, {}, 7),
                    second = seeded_noise(latents.with(0, 1), DType::f32, {}, 7, 1);
  const Tensor x = standard_normal(latents, DType::f32, {}, {.seed = 7, .purpose = "start"});
  const std::vector<Tensor> together = sample_all(x, {.noise = both}), alone = sample_all(x.slice(1, 2), {.noise = second});
  for (size_t i = 0; i < together.size(); ++i) EXPECT_TRUE(same_bits(together[i].slice(1, 2).clone(), alone[i])) << i;
}

TEST(Samplers, GoOnWithTheX0OfTheHook) {
  const Tensor wanted = uniform(latents, 3), x = uniform(latents, 4);
  int64_t calls = 0;
  const X0Hook hook = [&](const Tensor&, const SampleStep& step) {
    EXPECT_GT(step.x0_weight, 0);
    EXPECT_LT(step.index, step.count);
    ++calls;
    return wanted;
  };
  const Sampling sampling{.noise = seeded_noise(latents, DType::f32, {}, 1), .hook = hook};
  const std::vector<Tensor> results = sample_all(x, sampling);
  for (size_t i = 0; i < results.size(); ++i)  // DDIM and DPM-Solver end at time 0, where a little noise is left
    EXPECT_LT(relative_l2(results[i], wanted), i == 1 || i == 2 ? 0.1 : 1e-4) << i;
  EXPECT_EQ(calls, 5 + 5 + 5 + 6 * 5 + 5 * 9);  // solvers with a point inside the step ask twice, but for the last step
}

TEST(Samplers, RecordNothing) {
  const Tensor weight = require_grad(Tensor::full({1}, 2));
  const DiffusionModel model{.denoiser = [&](const Tensor& x, double) {
    EXPECT_FALSE(recording({weight}));
    return x;
  }};
  EXPECT_FALSE(requires_grad(sample_ddim(model, 2, 0, uniform(latents, 1), {})));
}

TEST(Samplers, SayWhatTheyNeed) {
  const Tensor x = uniform(latents, 1);
  const DiffusionModel model = model_of(Prediction::eps);
  EXPECT_HAS(input_error([&] { sample_spaced(model, 3, x, {}); }), "no source of it");
  EXPECT_HAS(input_error([&] { sample_spaced(model, 3, x, {.noise = [](int64_t) { return Tensor::zeros({1}); }}); }),
             "the source of noise gave");
  EXPECT_HAS(input_error([&] { sample_spaced(model_of(Prediction::eps, true), 3, x, {}); }), "predicts v");
  EXPECT_HAS(input_error([&] { sample_ddim(model, 3, 0, x, {}); }), "divides 1000");
  EXPECT_HAS(input_error([&] { sample_ddim(model, 1001, 0, x, {}); }), "1 to 1000");
  EXPECT_HAS(input_error([&] { sample_edm(model, 1000, {}, x, {}); }), "1 to 999");
  EXPECT_HAS(input_error([&] { sample_edm(model, 5, {.order = 5}, x, {}); }), "1 .. 4");
  EXPECT_HAS(input_error([&] { sample_dpm(model, 0, {}, x, {}); }), "at least 1");
  EXPECT_HAS(input_error([] { edm_solver_named("euler_b"); }), "euler_a");
  EXPECT_HAS(input_error([] { dpm_options("dpm++_m4"); }), "dpm++_m1 to m3");
}

TEST(Samplers, OneSpacedStepGivesTheEstimateOfTheFirstTime) {
  const DiffusionModel model = model_of(Prediction::v);
  const Tensor x = uniform(latents, 1);
  const Tensor expected =
      predicted_x0(Prediction::v, x, model.denoiser(x, 0), model.schedule.alpha(0), model.schedule.sigma(0));
  EXPECT_LT(relative_l2(sample_spaced(model, 1, x, {}), expected), 1e-6);
}

TEST(EdmGrid, StartsAtTheModelsOwnSigma) {
  const NoiseSchedule plain, zero({.zero_terminal_snr = true});
  EXPECT_NEAR(edm_grid(plain, 10, false).sigmas[0], 14.6146, 1e-4);
  EXPECT_NEAR(edm_grid(plain, 10, true).sigmas[0], 1e4, 1e-2);
  EXPECT_NEAR(edm_grid(zero, 10, false).sigmas[0], 1e4, 1e-2);
  EXPECT_EQ(edm_grid(plain, 10, false).times, (std::vector<int64_t>{999, 899, 799, 699, 599, 499, 399, 299, 199, 99, 0}));
}

TEST(DpmTime, DropsWhatHoldsNothingOfThePicture) {
  EXPECT_EQ(DpmTime(NoiseSchedule()).last(), 1.0 / 1000);
  EXPECT_EQ(DpmTime(NoiseSchedule({.zero_terminal_snr = true})).last(), 1.0 / 986);
}

TEST(ClassifierFree, LeadsAwayFromTheNegativeText) {
  const Tensor x = uniform(latents, 1);
  std::vector<int64_t> batches;
  const ConditionedDenoiser denoiser = [&](const Tensor& batch, double, Texts texts) {
    batches.push_back(batch.shape(0));
    const Tensor out = batch.clone();
    if (texts == Texts::both) out.slice(2, 4).copy_from(linear_combination({{0.5, batch.slice(2, 4)}}));
    return out;
  };
  const auto at = [&](const ClassifierFreeOptions& options, double t) { return classifier_free(denoiser, options)(x, t); };
  EXPECT_LT(relative_l2(at({.scale = 4}, 10), linear_combination({{0.5 + 4 * 0.5, x}})), 1e-6);
  EXPECT_TRUE(same_bits(at({.scale = 1}, 10), x));
  EXPECT_TRUE(same_bits(at({.scale = 4, .rescale = true}, 1000), x));
  EXPECT_LT(relative_l2(at({.scale = 4, .rescale = true, .skip_negative = false}, 1000), x), 1e-6);
  EXPECT_EQ(batches, (std::vector<int64_t>{4, 2, 2, 4}));
}

TEST(ClassifierFree, RescaledGrowsWithTheCourse) {
  const ClassifierFreeOptions options{.scale = 8, .rescale = true};
  EXPECT_NEAR(classifier_free_scale(options, 500), 1.019, 1e-3);
  EXPECT_NEAR(classifier_free_scale(options, 99), 6.16, 1e-2);
  EXPECT_NEAR(classifier_free_scale(options, 0), 9, 1e-12);
  EXPECT_EQ(classifier_free_scale({.scale = 0.5, .rescale = true}, 0), 0.5);
}

}  // namespace
}  // namespace relume::test
