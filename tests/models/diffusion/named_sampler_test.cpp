#include "models/diffusion/named_sampler.h"

#include <gtest/gtest.h>

#include "models/diffusion/ddim.h"
#include "models/diffusion/dpm_solver.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/linear_combination.h"
#include "models/diffusion/spaced.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(NamedSampler, IsTheSamplerOfThatName) {
  const Shape shape{1, 3, 2, 4};
  const Tensor x = uniform(shape, 1);
  const Sampling sampling{.noise = seeded_noise(shape, DType::f32, {}, 7), .hook = {}};
  const DiffusionModel model{
      .schedule = NoiseSchedule(), .prediction = Prediction::v, .denoiser = [](const Tensor& y, double t) {
        return linear_combination({{0.3 + t / 2000, y}});
      }};
  const auto named = [&](const SamplerOptions& o) { return sample_by_name(model, o, x, sampling); };
  EXPECT_TRUE(same_bits(named({.name = "spaced", .steps = 5}), sample_spaced(model, 5, x, sampling)));
  EXPECT_TRUE(same_bits(named({.name = "ddim", .steps = 5}), sample_ddim(model, 5, 0, x, sampling)));
  EXPECT_TRUE(same_bits(named({.name = "dpm_s3", .steps = 5}),
                        sample_dpm(model, 5, {.predicts_data = false, .multistep = false, .order = 3}, x, sampling)));
  EXPECT_TRUE(same_bits(named({.name = "edm_lms", .steps = 5, .order = 3}),
                        sample_edm(model, 5, {.solver = EdmSolver::lms, .order = 3}, x, sampling)));
  EXPECT_TRUE(
      same_bits(named({.name = "edm_euler", .steps = 5, .s_churn = 1, .s_tmin = 0.1, .s_tmax = 50, .s_noise = 1.1}),
                sample_edm(model, 5, {.solver = EdmSolver::euler, .s_churn = 1, .s_tmin = 0.1, .s_tmax = 50, .s_noise = 1.1}, x,
                           sampling)));
  EXPECT_TRUE(same_bits(named({.name = "edm_euler_a", .steps = 5, .eta = 0.5}),
                        sample_edm(model, 5, {.solver = EdmSolver::euler_a, .eta = 0.5}, x, sampling)));
}

TEST(NamedSampler, UnknownNamesAreRefused) {
  EXPECT_HAS(input_error([] { SamplerOptions{.name = "plms"}.validate(); }), "sampler 'plms': unknown");
  EXPECT_HAS(input_error([] { SamplerOptions{.name = "edm_eular"}.validate(); }), "euler");
  EXPECT_HAS(input_error([] { SamplerOptions{.name = "dpm++_m4"}.validate(); }), "dpm++_m4");
  SamplerOptions{}.validate();
}

}  // namespace
}  // namespace relume::test
