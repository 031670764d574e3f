#include "infer/reference_training.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/reference_training.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

class ReferenceTrainingTest : public testing::Test {
 protected:
  // With one text in place of another, where it first stands.
  ReferenceTraining read(const std::string& from = "", const std::string& to = "") const {
    std::string text = small_reference_training("prior.ckpt", "");
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write_file_atomically(folder_ / "train.yaml", text.replace(at, from.size(), to));
    return read_reference_training(folder_ / "train.yaml");
  }
  std::string refused(const std::string& from, const std::string& to) const {
    return input_error([&] { read(from, to); });
  }
  const TemporaryFolder folder_;
};

TEST_F(ReferenceTrainingTest, NetworksScheduleAndFilesAreThoseOfTheTraining) {
  const ReferenceTraining t = read();
  EXPECT_EQ(to_yaml(t.networks), to_yaml(small_published_config()));
  SwinIRConfig cleaner = small_stage_one();
  cleaner.zero_last = SwinIRConfig().zero_last;  // says how a training begins
  EXPECT_EQ(to_yaml(t.cleaner), to_yaml(cleaner));
  EXPECT_EQ(to_yaml(t.diffusion), to_yaml(DiffusionConfig()));
  EXPECT_EQ(t.prior, "prior.ckpt");
  EXPECT_TRUE(t.cleaner_weights.empty());
  const ReferenceTraining v = read("timesteps: 1000", "timesteps: 500\n      zero_snr: True\n      parameterization: v");
  EXPECT_EQ(v.diffusion.timesteps, 500);
  EXPECT_TRUE(v.diffusion.zero_snr);
  EXPECT_EQ(v.diffusion.parameterization, "v");
  EXPECT_EQ(to_yaml(read("diffbir.model.cldm", "model.cldm").networks), to_yaml(t.networks));
}

TEST_F(ReferenceTrainingTest, WhatIsUnknownOrDoneOtherwiseIsNamedWithItsLine) {
  EXPECT_HAS(refused("timesteps: 1000", "timesteps: 1000\n      cosine_s: 0.008"), "unknown key 'diffusion.params.cosine_s'");
  EXPECT_HAS(refused("timesteps: 1000", "timesteps: 1000\n      beta_schedule: sqrt"),
             "diffusion.params.beta_schedule is 'sqrt', expected 'linear'");
  EXPECT_HAS(refused("timesteps: 1000", "timesteps: 1000\n      parameterization: x0"), "parameterization is 'x0'");
  EXPECT_HAS(refused("legacy: False", "legacy: True"), "cldm.params.unet_cfg: legacy: true is not built here");
  EXPECT_HAS(refused("use_spatial_transformer: True", "use_spatial_transformer: False"), "is not built here");
  EXPECT_HAS(refused("double_z: true", "double_z: false"), "double_z: false is not built here");
  EXPECT_HAS(refused("legacy: False", "legacy: False\n        num_heads: 8"),
             "train.yaml:20: unknown key 'cldm.params.unet_cfg.num_heads'");
  EXPECT_HAS(refused("model_channels: 32", "model_channels: 64"), "controlnet_cfg has model_channels: 32, unet_cfg has 64");
  EXPECT_HAS(refused("diffbir.model.cldm.ControlLDM", "other.ControlLDM"), "expected 'diffbir.model.cldm.ControlLDM'");
  EXPECT_HAS(refused("      sf: 2\n", ""), "missing key 'swinir.params.sf'");
  EXPECT_HAS(refused("      linear_start: 0.00085\n", ""), "missing key 'diffusion.params.linear_start'");
  EXPECT_HAS(refused("dataset:", "datasets:"), "unknown key 'datasets' (did you mean 'dataset'?)");
}

}  // namespace
}  // namespace relume::test
