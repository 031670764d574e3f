// Stage two on the device: what the CPU computes, in graphs that are replayed from step to step and from picture to picture.
#include "infer/stage_two.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "infer/refiner.h"
#include "layers/finite.h"
#include "models/diffusion/noise.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/parameters.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

// As small as networks get that have all kinds of layers.
ControlLdmConfig tiny_config() {
  ControlLdmConfig c = small_control_ldm_config();
  c.control.unet.channel_mult = {1}, c.control.unet.attention_resolutions = {1};
  return c;
}

class CudaStageTwo : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
    host_ = std::make_unique<ControlLdm>(tiny_config()), device_ = std::make_unique<ControlLdm>(tiny_config(), cuda_device);
    randomise(host_->unet, 1), randomise(host_->control_net, 2);
    copy_parameters(host_->unet, device_->unet), copy_parameters(host_->control_net, device_->control_net);
  }

  // More steps than are done plainly before a graph is made, of a sampler that keeps estimates from earlier ones.
  static StageTwoOptions options() { return {.sampler = {.name = "dpm++_m2", .steps = 5}}; }

  static Tensor course(const ControlLdm& networks, const StageTwo& stage, uint64_t picture) {
    const NoGrad no_grad;
    const Device device = networks.device();
    const Shape shape{1, 8, 8, 4};
    const Tensor condition = uniform(shape, picture).to(device), states = uniform({2, 5, 12}, picture + 1).to(device);
    const StageTwoNoise noise{.start = standard_normal(shape, DType::f32, device, {.seed = picture, .purpose = "start"}),
                              .augmentation = {},
                              .steps = seeded_noise(shape, DType::f32, device, picture)};
    return stage.sample(condition, networks.texts(states), noise).to(Device{});
  }
  static Tensor without_graphs(const ControlLdm& networks, const StageTwo& stage, uint64_t picture) {
    const FiniteScope scope;
    return course(networks, stage, picture);
  }

  std::unique_ptr<ControlLdm> host_, device_;
};

TEST_F(CudaStageTwo, IsReplayedForOtherPicturesAndTexts) {
  const StageTwo stage(*device_, options()), on_host(*host_, options());
  EXPECT_LE(relative_l2(course(*device_, stage, 1), course(*host_, on_host, 1)), 1e-5);
  const Tensor second = course(*device_, stage, 3);
  EXPECT_LE(relative_l2(second, course(*host_, on_host, 3)), 1e-5);
  EXPECT_TRUE(same_bits(second, without_graphs(*device_, stage, 3)));
}

TEST_F(CudaStageTwo, In16BitsParametersMayBeConvertedBefore) {
  device_->set_compute_type(DType::bf16);
  const Tensor half = course(*device_, StageTwo(*device_, options()), 1);
  const double from_full = relative_l2(half, course(*host_, StageTwo(*host_, options()), 1));
  EXPECT_GT(from_full, 1e-5);
  EXPECT_LE(from_full, 5e-2);
  device_->unet.set_parameter_type(DType::bf16), device_->control_net.set_parameter_type(DType::bf16);
  EXPECT_TRUE(same_bits(without_graphs(*device_, StageTwo(*device_, options()), 1), half));
}

// The reference's course is computed on the CPU, but for the networks.
TEST_F(CudaStageTwo, ExactCoursesAreTheCpus) {
  StageTwoOptions exact = options();
  exact.sampler = {.name = "edm_dpm++_3m_sde", .steps = 5, .exact_reference = true};
  EXPECT_LE(relative_l2(course(*device_, StageTwo(*device_, exact), 1), course(*host_, StageTwo(*host_, exact), 1)), 1e-4);
}

// The whole of it from a file: text encoder, networks and colours.
class CudaRefiner : public CudaStageTwo {
 protected:
  void SetUp() override {
    CudaStageTwo::SetUp();
    if (IsSkipped()) return;
    save_small_restorer(folder_ / "full.safetensors");
    config_.networks = small_published_config();
    config_.sampler = "spaced", config_.steps = 2, config_.cfg_scale = 1;
  }
  Tensor refined(Device device, DType compute = DType::f32) const {
    const Refiner refiner(config_, ControlLdmSource({folder_ / "full.safetensors", {}}), {PromptPair{}}, {}, device, compute);
    return refiner(uniform({64, 64, 3}, 6, 0, 1), {}, 1, 0);
  }

  const TemporaryFolder folder_;
  StageTwoConfig config_;
};

// Whose parameters the device keeps in 16 bits.
TEST_F(CudaRefiner, In16BitsIsNearTheCpu) { EXPECT_LE(relative_l2(refined(cuda_device, DType::bf16), refined({})), 2e-2); }

TEST_F(CudaRefiner, GuidanceMovesAsOnTheCpu) {
  const Tensor plain = refined({});
  config_.guidance.scale = 20, config_.guidance.start = 1001, config_.guidance.stop = -1;
  for (const auto& [loss, space] : {std::pair("w_mse", "rgb"), std::pair("mse", "latent")}) {
    config_.guidance.loss = loss, config_.guidance.space = space;
    const Tensor on_host = refined({});
    EXPECT_GT(relative_l2(on_host, plain), 1e-4) << loss << " in " << space;
    EXPECT_LE(relative_l2(refined(cuda_device), on_host), 1e-5) << loss << " in " << space;
  }
}

}  // namespace
}  // namespace relume::test
